"""What of a card is ours and what is its owner's. Owns how cards are merged.

What a card holds between the marks of a generated section is written anew; all other text is its owner's and stays,
the title, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from datasetkit.export.card.parts import (
    Block,
    Pairs,
    body_blocks,
    front_pairs,
    front_text,
    heading_parts,
    join_blocks,
    sections_line,
    spelt,
    split_card,
)

# Whoever named the dataset, or knows in which language it is, knows better than we do.
_KEPT_KEYS = frozenset({"pretty_name", "language"})
JOINED_KEYS = frozenset({"annotations_creators", "source_datasets", "tags", "task_categories"})
# Some licenses have these next to `license`; they must go with it.
LICENSE_KEYS = frozenset({"license_name", "license_link"})


def merge_card(generated: str, published: str) -> str:
    """Bring a card up to date without losing what its owner wrote.

    The body follows the published card:

    - a generated section takes its new text, wherever it was moved to; one that is not generated any more goes;
    - a section that the owner deleted stays deleted (the last line still names it); one that was never there comes
      after the section that it follows in the generated card;
    - text outside the marks stays. Such text in ``generated``, from somebody who edited that card, joins it,
      heading by heading, where it is not there already;
    - a body without any of our marks is the owner's alone: it stays, and the sections are added below it.

    The front matter follows the published one, too: keys that are not generated stay, those that are take their new
    values, ``pretty_name`` and ``language`` keep theirs, lists of tags, tasks, sources and annotators are joined.
    Comments in YAML are not kept.

    Returns:
        Markdown with front matter; merging again changes nothing.

    Raises:
        BuiltFolderError: a front matter is no readable YAML mapping.

    """
    new_front, new_body = split_card(generated)
    old_front, old_body = split_card(published)
    return f"---\n{_merge_front(new_front, old_front)}---\n{_merge_body(new_body, old_body)}"


def owners_part(published: str, generated: str) -> str | None:
    """Return what a card's owner made of it, to be merged with the card of another dataset at the same path.

    ``generated`` is the card as rendered for the dataset that it describes.

    Returns:
        ``published`` without the front matter that was generated, or None where nothing in it is its owner's.

    Raises:
        BuiltFolderError: a front matter is no readable YAML mapping.

    """
    (our_front, our_body), (front, body) = split_card(generated), split_card(published)
    own = _without(front_pairs(front), front_pairs(our_front))
    if not own and _outline(body) == _outline(our_body):
        return None
    return f"---\n{front_text(own)}---\n{body}"


def _merge_front(new: str, old: str) -> str:
    """Merge on YAML's nodes: a value that is not ours keeps its spelling (``1.10``, ``no``), which loading loses."""
    generated, published = front_pairs(new), front_pairs(old)
    gone = LICENSE_KEYS - generated.keys() if "license" in generated else frozenset()
    merged = {name: pair for name, pair in published.items() if name not in gone}
    for name, (key, value) in generated.items():
        if name in JOINED_KEYS and name in merged:
            merged[name] = (key, _join(value, merged[name][1]))
        elif name not in _KEPT_KEYS or name not in merged:
            merged[name] = (key, value)
    return front_text(merged)


def _without(pairs: Pairs, generated: Pairs) -> Pairs:
    """Leave out what was generated: values that are as they were, and of joined lists the items."""
    own = {}
    for name, (key, value) in pairs.items():
        ours = generated[name][1] if name in generated else None
        if name in JOINED_KEYS and isinstance(ours, yaml.SequenceNode) and isinstance(value, yaml.SequenceNode):
            known = {spelt(item) for item in ours.value}
            items = [item for item in value.value if spelt(item) not in known]
            value = yaml.SequenceNode(value.tag, items, flow_style=False)
            ours = None if items else value
        if ours is None or spelt(ours) != spelt(value):
            own[name] = (key, value)
    return own


def _join(generated: yaml.Node, published: yaml.Node) -> yaml.Node:
    """Put the published list's further items, or a single text in its place, after the generated ones."""
    if not isinstance(generated, yaml.SequenceNode):
        return generated
    items = published.value if isinstance(published, yaml.SequenceNode) else [published]
    ours = {item.value for item in generated.value if isinstance(item, yaml.ScalarNode)}
    further = [item for item in items if isinstance(item, yaml.ScalarNode) and item.value not in {*ours, "", "null"}]
    value = [*generated.value, *further]
    return yaml.SequenceNode(generated.tag, value, flow_style=not value)


def _merge_body(new: str, old: str) -> str:
    if not old.strip():
        return new
    generated, offered = body_blocks(new)
    published, known = body_blocks(old)
    known = known or []
    # A generated card without any of our marks is its owner's text alone and says nothing of sections.
    sections = {block.name: block for block in (published if offered is None else generated) if block.name}
    present = {block.name for block in published}
    new_text = [block if block.name is None else sections.get(block.name) for block in published]
    kept = [block for block in new_text if block is not None]
    before: str | None = None
    for block in generated:
        if block.name is None:
            lines = _without_title(block.lines) if block is generated[0] else block.lines
            parts = ("\n".join(part).strip("\n") for part in heading_parts(lines))
            texts = [text for text in parts if text and not _holds(kept, text)]
            _insert(kept, before, [Block(None, ("", *text.split("\n"), "")) for text in texts], past_text=True)
        elif block.name not in present and block.name not in known:
            _insert(kept, before, [Block(None, ("",)), block, Block(None, ("",))])
        if any(other.name == block.name for other in kept if other.name):
            before = block.name
    # A name that stays without its section says that the owner deleted it; those that are not generated any more go.
    names = [name for name in known if name not in present or name in sections]
    names += [name for name in offered or () if name not in names]
    text = "\n".join(line for block in kept for line in block.lines).rstrip("\n")
    return f"{text}\n\n{sections_line(names)}\n"


def _outline(body: str) -> tuple[list[str], list[str] | None]:
    """Return the owner's texts between the names of the sections, and the names on the last line."""
    blocks, names = body_blocks(body)
    parts = [f"\n{block.name}" if block.name else "\n".join(block.lines).strip() for block in blocks]
    return [part for part in parts if part], names


def _without_title(lines: Sequence[str]) -> Sequence[str]:
    """Leave out the heading with which a body begins: the published card has its own, or was to have none."""
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    return lines[first + 1 :] if lines and lines[first].startswith("# ") else lines


def _holds(blocks: Sequence[Block], text: str) -> bool:
    """Whether the lines of ``text`` are in the owner's text, one after the other."""
    return any(
        f"\n{text}\n" in "\n".join(["", *block.lines, ""]) for block in join_blocks(blocks) if block.name is None
    )


def _insert(blocks: list[Block], before: str | None, new: Sequence[Block], *, past_text: bool = False) -> None:
    """Put blocks after the section ``before``, or, where that is None, before the first section.

    With ``past_text``, the owner's text that follows the section stays next to it.
    """
    if before is None:
        place = next((index for index, block in enumerate(blocks) if block.name), len(blocks))
    else:
        place = max(index for index, block in enumerate(blocks) if block.name == before) + 1
        while past_text and place < len(blocks) and blocks[place].name is None:
            place += 1
    blocks[place:place] = new


def section_names(card: str) -> list[str]:
    """Return the names of a card's generated sections, in their order."""
    return [block.name for block in body_blocks(split_card(card)[1])[0] if block.name is not None]
