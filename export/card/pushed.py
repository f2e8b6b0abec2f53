"""The card that a push brings to the Hub: the folder's, with its address, and what people wrote there.

Owns the merge of three cards: the folder's, the Hub's and, between them, the folder's at the push before. Of the last
one the Hub's card keeps hashes, in a line of its own at its end, and in another those of the files that came with it::

    <!-- datasetkit:folder KEY:VALUE KEY:VALUE ... -->
    <!-- datasetkit:files PATH:SHA256 PATH:SHA256 ... -->

A KEY is the hash of a heading or of a key in the front matter, a VALUE the hash of what stood there. Hashes are cut.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from datasetkit.export.card.parts import (
    HEADING,
    PUSH_LINE,
    Block,
    Pairs,
    body_blocks,
    front_pairs,
    front_text,
    heading_parts,
    sections_line,
    spelt,
    split_card,
)
from datasetkit.export.card.sections import JOINED_KEYS, LICENSE_KEYS, merge_card

_GENERATED_KEYS = frozenset({"configs", "dataset_info", "size_categories"})
_FILE_DIGITS = 16
_TITLE, _NO_HEADING = "the title", "text without a heading"


@dataclass(frozen=True, slots=True)
class PushedCard:
    """What becomes the Hub's card.

    Args:
        text: Markdown with front matter.
        is_merged: whether anything in it is not the folder's.
        kept: headings and keys of the front matter that are as the Hub has them, although the folder has them
            otherwise.

    """

    text: str
    is_merged: bool
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What an owner can change: a text under its heading, or a value in the front matter as YAML."""

    name: str
    value: str

    @property
    def id(self) -> str:
        """KEY:VALUE."""
        return f"{self.key}:{_digest(self.value)}"

    @property
    def key(self) -> str:
        """Hash of what the piece is about; every item of a joined list is about itself."""
        return _digest(f"{self.name}\n{self.value}" if self.name in JOINED_KEYS else self.name)


def pushed_card(
    card: str, published: str | None, repo_id: str, address: str, files: Mapping[str, str] | None = None
) -> PushedCard:
    """Merge a folder's card into the Hub's.

    What only the folder changed since the push before, or only the Hub, is so in the result; of what both changed the
    Hub's version stays. Where no push was before, the Hub's card has everything that it has, its license too, and the
    folder's card joins it.

    The result contains the repository's name and page. ``published`` is the Hub's card, None where there is none;
    ``files`` are the SHA-256 of the files that :func:`written_files` is to know, by path.

    Raises:
        BuiltFolderError: a card has no readable front matter.

    """
    ours = _addressed(card, repo_id, address)
    front, blocks, names = _read(ours)
    pieces = _pieces(front, blocks)
    line = f"<!-- datasetkit:folder {' '.join(piece.id for piece in pieces)} -->"
    if files:
        told = " ".join(f"{path}:{sha256[:_FILE_DIGITS]}" for path, sha256 in sorted(files.items()))
        line = f"{line}\n<!-- datasetkit:files {told} -->"
    alone = f"{ours.rstrip()}\n{line}\n"
    if published is None or published == alone:
        return PushedCard(alone, False, ())
    their_front, their_blocks, their_names = _read(published)
    base = _push_line(published, "folder")
    replaced, left, kept = _resolve(base, pieces, _pieces(their_front, their_blocks))
    if their_names is None and "license" in their_front and _license(their_front) != _license(front):
        front = _relicensed(front, their_front)
        kept.append("license")
    theirs = _edited(their_front, their_blocks, their_names, replaced, front)
    ours = _edited(front, blocks, names, dict.fromkeys(left), their_front)
    merged = f"{merge_card(ours, theirs).rstrip()}\n{line}\n"
    return PushedCard(merged, merged != alone, tuple(kept))


def written_files(published: str) -> dict[str, str]:
    """Return the first digits of the SHA-256 of the files that the push before wrote, by path; none where it had none.

    They are in the Hub's card, where anybody may have written them: whether a path can be one of ours is for the caller
    to see.
    """
    pairs = (item.rpartition(":") for item in _push_line(published, "files"))
    return {path: digits for path, _, digits in pairs if len(digits) == _FILE_DIGITS}


def _push_line(published: str, kind: str) -> list[str]:
    """Return the items of the last line of that kind."""
    matches = (PUSH_LINE.fullmatch(line) for line in published.splitlines())
    found = [match["items"].split() for match in matches if match is not None and match["kind"] == kind]
    return found[-1] if found else []


def _addressed(card: str, repo_id: str, address: str) -> str:
    """Name the repository in the example that loads the dataset, and its page in the citation."""
    lines = card.replace("\r\n", "\n").split("\n")
    card = "\n".join(line for line in lines if not PUSH_LINE.fullmatch(line))
    card = _in_section(card, "loading", r"^DATASET = .*$", f'DATASET = "{repo_id}"')
    return _in_section(card, "citation", r"^(  url = .*\n)?  note = ", f"  url = {{{address}}},\n  note = ")


def _in_section(card: str, name: str, pattern: str, text: str) -> str:
    section = re.compile(f"(?<=<!-- datasetkit:begin {name} -->\n).*?(?=\n<!-- datasetkit:end {name} -->)", re.DOTALL)
    line = re.compile(pattern, re.MULTILINE)
    return section.sub(lambda found: line.sub(lambda _: text, found[0], count=1), card, count=1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read(card: str) -> tuple[Pairs, list[Block], list[str] | None]:
    front, body = split_card(card)
    return (front_pairs(front), *body_blocks(body))


def _pieces(front: Pairs, blocks: Sequence[Block]) -> list[_Piece]:
    pieces = []
    for name, (_, value) in front.items():
        if name in JOINED_KEYS:
            pieces += [_Piece(name, spelt(item)) for item in _items(value)]
        elif name not in _GENERATED_KEYS | LICENSE_KEYS:
            pieces.append(_Piece(name, _license(front) if name == "license" else spelt(value)))
    return pieces + [piece for _, piece in _texts(blocks) if piece is not None]


def _items(value: yaml.Node) -> list[yaml.Node]:
    return value.value if isinstance(value, yaml.SequenceNode) else [value]


def _license(front: Pairs) -> str:
    return "".join(f"{name}: {spelt(front[name][1])}" for name in ("license", *sorted(LICENSE_KEYS)) if name in front)


def _relicensed(front: Pairs, other: Pairs) -> Pairs:
    """Put another front matter's license in the place of one's own."""
    keys = ("license", *sorted(LICENSE_KEYS))
    theirs = {name: other[name] for name in keys if name in other}
    relicensed: Pairs = {}
    for name, pair in front.items():
        relicensed |= theirs if name == "license" else {} if name in keys else {name: pair}
    return relicensed | theirs


def _texts(blocks: Sequence[Block]) -> Iterable[tuple[Sequence[str], _Piece | None]]:
    """Go through a body: its lines, and which piece they are; none for generated sections and empty lines."""
    for place, block in enumerate(blocks):
        if block.name is not None:
            yield block.lines, None
            continue
        lines = block.lines
        first = next((index for index, line in enumerate(lines) if line.strip()), None)
        if place == 0 and first is not None and lines[first].startswith("# "):
            yield lines[: first + 1], _Piece(_TITLE, lines[first])
            lines = lines[first + 1 :]
        for part in heading_parts(lines):
            text = "\n".join(part).strip("\n")
            heading = part[0].strip() if part and HEADING.match(part[0]) else _NO_HEADING
            yield part, _Piece(heading, text) if text.strip() else None


def _resolve(
    base: Sequence[str], ours: Sequence[_Piece], theirs: Sequence[_Piece]
) -> tuple[dict[str, _Piece | None], set[str], list[str]]:
    """Compare both cards with the ids of the folder's pieces at the push before; none where no push was.

    Returns:
        by id, pieces of the Hub's card that the folder replaced, or deleted (None); ids of pieces of the folder's card
        in which the Hub's card wins; names of what both changed.

    """
    our_ids, their_ids = {piece.id for piece in ours}, {piece.id for piece in theirs}
    new = [piece for piece in ours if piece.id not in base]
    replaced: dict[str, _Piece | None] = {}
    left = {piece_id for piece_id in our_ids.intersection(base) if piece_id not in their_ids}
    kept = []
    for gone in base:
        if gone in our_ids or gone in replaced:
            continue
        key = gone.split(":")[0]
        follower = next((piece for piece in new if piece.key == key), None)
        if follower is not None:
            new.remove(follower)
        if gone in their_ids:
            replaced[gone] = follower
        elif follower is not None and follower.id not in their_ids:
            left.add(follower.id)
            kept.append(follower.name)
        elif follower is None:
            kept += [piece.name for piece in theirs if piece.key == key and piece.id not in base]
    return replaced, left, kept


def _edited(
    front: Pairs, blocks: Sequence[Block], names: list[str] | None, changes: Mapping[str, _Piece | None], other: Pairs
) -> str:
    """Write a card with some of its pieces replaced or left out; values of the front matter come from the other's."""
    pairs: Pairs = {}
    for name, (key, value) in front.items():
        if name in JOINED_KEYS:
            items = [item for item in _items(value) if _Piece(name, spelt(item)).id not in changes]
            pairs[name] = (key, yaml.SequenceNode("tag:yaml.org,2002:seq", items, flow_style=not items))
        elif _Piece(name, _license(front) if name == "license" else spelt(value)).id not in changes:
            pairs[name] = (key, value)
        elif name in other:
            pairs[name] = other[name]
    if "license" in front and _Piece("license", _license(front)).id in changes:
        pairs = _relicensed(pairs, other)
    lines: list[str] = []
    for part, piece in _texts(blocks):
        if piece is None or piece.id not in changes:
            lines += part
        elif (new := changes[piece.id]) is not None:
            lines += "\n".join(part).replace(piece.value, new.value, 1).split("\n")
        elif piece.name == _TITLE:
            lines += part
    end = [] if names is None else ["", sections_line(names), ""]
    return f"---\n{front_text(pairs)}---\n" + "\n".join([*lines, *end])
