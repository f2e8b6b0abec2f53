"""What of a card is ours and what is its owner's. Owns the marks around generated sections, and merging by them.

The template writes every generated section between two comments, each a line of its own at its very beginning::

    <!-- datasetkit:begin NAME -->
    ...
    <!-- datasetkit:end NAME -->

and, as the card's last line, the names of all of them: ``<!-- datasetkit:sections NAME NAME ... -->``. What a card
holds between the two comments is written anew; all other text is its owner's and stays, the title, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import yaml

from datasetkit.errors import BuiltFolderError

_MARK = re.compile(r"<!-- datasetkit:(begin|end|sections)((?: [a-z_]+)*) -->")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"##? ")
# Whoever named the dataset, or knows in which language it is, knows better than we do.
_KEPT_KEYS = frozenset({"pretty_name", "language"})
_JOINED_KEYS = frozenset({"annotations_creators", "source_datasets", "tags", "task_categories"})
# These stand beside `license` for some licenses and must go with it.
_LICENSE_KEYS = frozenset({"license_name", "license_link"})
_Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


def merge_card(generated: str, published: str) -> str:
    """Bring a card up to date without losing what its owner wrote.

    The body follows the published card:

    - a generated section takes its new text, wherever it was moved to; one that is not generated any more goes;
    - a section that the owner deleted stays deleted (the last line still names it); one that was never there comes
      after the section that it follows in the generated card;
    - text outside the marks stays. Such text in ``generated``, from somebody who edited that card, joins it,
      heading by heading, where it does not stand there already;
    - a body without any of our marks is the owner's alone and stays as it is.

    The front matter follows the published one, too: keys that are not generated stay, those that are take their new
    values, ``pretty_name`` and ``language`` keep theirs, lists of tags, tasks, sources and annotators are joined.
    Comments in YAML are not kept.

    Args:
        generated: the card as rendered now.
        published: the card to bring up to date.

    Returns:
        Markdown with front matter; merging again changes nothing.

    Raises:
        BuiltFolderError: a front matter is no readable YAML mapping.

    """
    new_front, new_body = split_card(generated)
    old_front, old_body = split_card(published)
    return f"---\n{_merge_front(new_front, old_front)}---\n{_merge_body(new_body, old_body)}"


def owners_part(published: str, generated: str) -> str | None:
    """Tell what a card's owner made of it, for merging with the card of another dataset in its place.

    Args:
        published: the card as it is.
        generated: the card as rendered for the dataset that it describes.

    Returns:
        ``published`` without the front matter that was generated, or None where nothing in it is its owner's.

    Raises:
        BuiltFolderError: a front matter is no readable YAML mapping.

    """
    (our_front, our_body), (front, body) = split_card(generated), split_card(published)
    own = _without(_pairs(front), _pairs(our_front))
    if not own and _outline(body) == _outline(our_body):
        return None
    return f"---\n{_front(own)}---\n{body}"


def split_card(card: str) -> tuple[str, str]:
    """Part a card's front matter (YAML without the lines of ``---``) from the body; lines end in a line feed alone."""
    lines = card.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return "", "\n" + "\n".join(lines) if lines != [""] else ""
    for end, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "".join(f"{text}\n" for text in lines[1:end]), "\n".join(lines[end + 1 :])
    raise BuiltFolderError("the card's front matter has no end: close it with a line of ---")


def _merge_front(new: str, old: str) -> str:
    """Merge on YAML's nodes: a value that is not ours keeps its spelling (``1.10``, ``no``), which loading loses."""
    generated, published = _pairs(new), _pairs(old)
    gone = _LICENSE_KEYS - generated.keys() if "license" in generated else frozenset()
    merged = {name: pair for name, pair in published.items() if name not in gone}
    for name, (key, value) in generated.items():
        if name in _JOINED_KEYS and name in merged:
            merged[name] = (key, _join(value, merged[name][1]))
        elif name not in _KEPT_KEYS or name not in merged:
            merged[name] = (key, value)
    return _front(merged)


def _front(pairs: _Pairs) -> str:
    node = yaml.MappingNode("tag:yaml.org,2002:map", list(pairs.values()), flow_style=False)
    return _spelt(node) if pairs else ""


def _spelt(node: yaml.Node) -> str:
    return str(yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=120))


def _without(pairs: _Pairs, generated: _Pairs) -> _Pairs:
    """Leave out what was generated: values that are as they were, and of joined lists the items."""
    own = {}
    for name, (key, value) in pairs.items():
        ours = generated[name][1] if name in generated else None
        if name in _JOINED_KEYS and isinstance(ours, yaml.SequenceNode) and isinstance(value, yaml.SequenceNode):
            known = {_spelt(item) for item in ours.value}
            items = [item for item in value.value if _spelt(item) not in known]
            value = yaml.SequenceNode(value.tag, items, flow_style=False)
            ours = None if items else value
        if ours is None or _spelt(ours) != _spelt(value):
            own[name] = (key, value)
    return own


def _pairs(front: str) -> _Pairs:
    try:
        yaml.safe_load(front)  # composing alone takes what loading refuses
        node = yaml.compose(front, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BuiltFolderError(f"the card's front matter is not YAML: {' '.join(str(error).split())}") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode) or not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
        raise BuiltFolderError("the card's front matter is no YAML mapping; write lines of `key: value`")
    return {key.value: (key, value) for key, value in node.value}


def _join(generated: yaml.Node, published: yaml.Node) -> yaml.Node:
    """Put the published list's further items, or a single text in its place, after the generated ones."""
    if not isinstance(generated, yaml.SequenceNode):
        return generated
    items = published.value if isinstance(published, yaml.SequenceNode) else [published]
    ours = {item.value for item in generated.value if isinstance(item, yaml.ScalarNode)}
    further = [item for item in items if isinstance(item, yaml.ScalarNode) and item.value not in {*ours, "", "null"}]
    value = [*generated.value, *further]
    return yaml.SequenceNode(generated.tag, value, flow_style=not value)


@dataclass(frozen=True, slots=True)
class _Block:
    """Consecutive lines of a body: a generated section with its marks, or the owner's text (``name`` is None)."""

    name: str | None
    lines: tuple[str, ...]


def _blocks(body: str) -> tuple[list[_Block], list[str] | None]:
    """Part a body into blocks; also give the names on its line of sections, or None where it has no mark of ours.

    A mark without its other half is taken away, the text around it is the owner's.
    """
    lines = body.split("\n")
    marks = {place: match for place, line in enumerate(lines) if (match := _MARK.fullmatch(line.rstrip()))}
    if not marks:
        return [_Block(None, tuple(lines))], None
    blocks: list[_Block] = []
    names: list[str] = []
    place = 0
    for start, end in pairwise([*marks, len(lines)]):
        what, name = marks[start].groups()
        blocks.append(_Block(None, tuple(lines[place:start])))
        place = max(place, start + 1)
        closed = end in marks and marks[end].groups() == ("end", name)
        if what == "sections":
            names += name.split()
        elif what == "begin" and closed and len(name.split()) == 1:
            blocks.append(_Block(name.strip(), tuple(lines[start : end + 1])))
            place = end + 1
    blocks.append(_Block(None, tuple(lines[place:])))
    return _joined(blocks), names


def _joined(blocks: Sequence[_Block]) -> list[_Block]:
    """Make one block of the owner's text wherever several follow each other, and leave out empty ones."""
    joined = []
    for name, group in groupby(blocks, key=lambda block: block.name):
        if name is None:
            lines = tuple(line for block in group for line in block.lines)
            joined += [_Block(None, lines)] if lines else []
        else:
            joined += list(group)
    return joined


def _merge_body(new: str, old: str) -> str:
    generated, offered = _blocks(new)
    published, known = _blocks(old)
    if known is None or offered is None:
        return old if old.strip() else new
    sections = {block.name: block for block in generated if block.name}
    present = {block.name for block in published}
    new_text = [block if block.name is None else sections.get(block.name) for block in published]
    kept = [block for block in new_text if block is not None]
    before: str | None = None
    for block in generated:
        if block.name is None:
            lines = _without_title(block.lines) if block is generated[0] else block.lines
            texts = [text for text in _texts(lines) if not _holds(kept, text)]
            _insert(kept, before, [_Block(None, ("", *text.split("\n"), "")) for text in texts], past_text=True)
        elif block.name not in present and block.name not in known:
            _insert(kept, before, [_Block(None, ("",)), block, _Block(None, ("",))])
        if any(other.name == block.name for other in kept if other.name):
            before = block.name
    # A name that stays without its section says that the owner deleted it; those that are not generated any more go.
    names = [name for name in known if name not in present or name in sections]
    names += [name for name in offered if name not in names]
    text = "\n".join(line for block in kept for line in block.lines).rstrip("\n")
    return f"{text}\n\n{sections_line(names)}\n"


def _outline(body: str) -> tuple[list[str], list[str] | None]:
    """Give the owner's texts between the names of the sections, and the names on the last line."""
    blocks, names = _blocks(body)
    parts = [f"\n{block.name}" if block.name else "\n".join(block.lines).strip() for block in blocks]
    return [part for part in parts if part], names


def _without_title(lines: Sequence[str]) -> Sequence[str]:
    """Leave out the heading with which a body begins: the published card has its own, or was to have none."""
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    return lines[first + 1 :] if lines and lines[first].startswith("# ") else lines


def _texts(lines: Sequence[str]) -> Iterator[str]:
    """Part the owner's text at its headings; what looks like one in a block of code is none."""
    part: list[str] = []
    fence: str | None = None
    for line in lines:
        mark = _FENCE.match(line)
        if mark and (fence is None or mark[1].startswith(fence)):
            fence = mark[1] if fence is None else None
        if fence is None and _HEADING.match(line):
            yield from _stripped(part)
            part = []
        part.append(line)
    yield from _stripped(part)


def _stripped(lines: Sequence[str]) -> Iterator[str]:
    if text := "\n".join(lines).strip("\n"):
        yield text


def _holds(blocks: Sequence[_Block], text: str) -> bool:
    """Whether the lines of ``text`` stand in the owner's text, one after the other."""
    return any(f"\n{text}\n" in "\n".join(["", *block.lines, ""]) for block in _joined(blocks) if block.name is None)


def _insert(blocks: list[_Block], before: str | None, new: Sequence[_Block], *, past_text: bool = False) -> None:
    """Put blocks after the section ``before``, or, where that is None, before the first section.

    Args:
        blocks: changed in place.
        before: name of a section in ``blocks``, or None.
        new: what to put there.
        past_text: whether the owner's text that follows the section stays next to it.

    """
    if before is None:
        place = next((index for index, block in enumerate(blocks) if block.name), len(blocks))
    else:
        place = max(index for index, block in enumerate(blocks) if block.name == before) + 1
        while past_text and place < len(blocks) and blocks[place].name is None:
            place += 1
    blocks[place:place] = new


def section_names(card: str) -> list[str]:
    """Give the names of a card's generated sections, in their order."""
    return [block.name for block in _blocks(split_card(card)[1])[0] if block.name is not None]


def sections_line(names: Sequence[str]) -> str:
    """Write a card's last line: the names of all sections that were generated for it, deleted ones among them."""
    return f"<!-- datasetkit:sections {' '.join(names)} -->"
