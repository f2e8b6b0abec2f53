"""A card, taken apart: its front matter as YAML's nodes, its body as blocks. Owns the marks around generated sections.

The template writes every generated section between two comments, each a line of its own at its very beginning::

    <!-- datasetkit:begin NAME -->
    ...
    <!-- datasetkit:end NAME -->

and, as the card's last line, the names of all of them: ``<!-- datasetkit:sections NAME NAME ... -->``. A push adds
lines for itself, ``<!-- datasetkit:folder ... -->`` and ``<!-- datasetkit:files ... -->``, which are nobody's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import yaml

from datasetkit.core.documents import DocumentError, load_yaml
from datasetkit.core.errors import BuiltFolderError

PUSH_LINE = re.compile(r"<!-- datasetkit:(?P<kind>folder|files)(?P<items>(?: [^\s:]+:[0-9a-f]+)*) -->\s*")
_MARK = re.compile(r"<!-- datasetkit:(begin|end|sections)((?: [a-z_]+)*) -->")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
HEADING = re.compile(r"##? ")
Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


def split_card(card: str) -> tuple[str, str]:
    """Split a card's front matter (YAML without the lines of ``---``) from the body; lines end in a line feed alone."""
    lines = card.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return "", "\n" + "\n".join(lines) if lines != [""] else ""
    for end, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "".join(f"{text}\n" for text in lines[1:end]), "\n".join(lines[end + 1 :])
    raise BuiltFolderError("the card's front matter has no end: close it with a line of ---")


def front_text(pairs: Pairs) -> str:
    """Write a front matter, without the lines of ``---``."""
    node = yaml.MappingNode("tag:yaml.org,2002:map", list(pairs.values()), flow_style=False)
    return spelt(node) if pairs else ""


def spelt(node: yaml.Node) -> str:
    """Write a value as YAML."""
    return str(yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=120))


def front_value(front: str) -> Any:
    """Load a front matter.

    Raises:
        BuiltFolderError: it is not YAML; lines are counted as in the card, which has the line of ``---`` before them.

    """
    try:
        return load_yaml(front, first_line=2)
    except DocumentError as error:
        raise BuiltFolderError(f"the card's front matter is not YAML: {error}") from error


def front_pairs(front: str) -> Pairs:
    """Read a front matter by its keys; values keep their spelling (``1.10``, ``no``), which loading loses.

    Raises:
        BuiltFolderError: it is not a YAML mapping of plain keys.

    """
    front_value(front)  # composing alone takes what loading refuses
    node = yaml.compose(front, Loader=yaml.SafeLoader)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode) or not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
        raise BuiltFolderError("the card's front matter is not a YAML mapping; write lines of `key: value`")
    return {key.value: (key, value) for key, value in node.value}


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of a body: a generated section with its marks, or the owner's text (``name`` is None)."""

    name: str | None
    lines: tuple[str, ...]


def body_blocks(body: str) -> tuple[list[Block], list[str] | None]:
    """Split a body into blocks; also return the names on its line of sections, or None where it has no mark of ours.

    A mark without its other half is removed; the text around it is the owner's.
    """
    lines = [line for line in body.split("\n") if not PUSH_LINE.fullmatch(line)]
    marks = {place: match for place, line in enumerate(lines) if (match := _MARK.fullmatch(line.rstrip()))}
    if not marks:
        return [Block(None, tuple(lines))], None
    blocks: list[Block] = []
    names: list[str] = []
    place = 0
    for start, end in pairwise([*marks, len(lines)]):
        what, name = marks[start].groups()
        blocks.append(Block(None, tuple(lines[place:start])))
        place = max(place, start + 1)
        closed = end in marks and marks[end].groups() == ("end", name)
        if what == "sections":
            names += name.split()
        elif what == "begin" and closed and len(name.split()) == 1:
            blocks.append(Block(name.strip(), tuple(lines[start : end + 1])))
            place = end + 1
    blocks.append(Block(None, tuple(lines[place:])))
    return join_blocks(blocks), names


def join_blocks(blocks: Sequence[Block]) -> list[Block]:
    """Make one block of the owner's text wherever several follow each other, and leave out empty ones."""
    joined = []
    for name, group in groupby(blocks, key=lambda block: block.name):
        if name is None:
            lines = tuple(line for block in group for line in block.lines)
            joined += [Block(None, lines)] if lines else []
        else:
            joined += list(group)
    return joined


def heading_parts(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Split the owner's text at its headings; a line in a block of code is not a heading."""
    part: list[str] = []
    fence: str | None = None
    for line in lines:
        mark = _FENCE.match(line)
        if mark and (fence is None or mark[1].startswith(fence)):
            fence = mark[1] if fence is None else None
        if fence is None and HEADING.match(line):
            yield tuple(part)
            part = []
        part.append(line)
    yield tuple(part)


def sections_line(names: Sequence[str]) -> str:
    """Write a card's last line: the names of all sections that were generated for it, deleted ones among them."""
    return f"<!-- datasetkit:sections {' '.join(names)} -->"
