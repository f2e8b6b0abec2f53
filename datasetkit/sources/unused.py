"""What a source has but does not use. Owns which columns, keys and files clearly hold texts or masks, and refusals.

Nothing is skipped silently: it is counted, with examples. If texts or masks are clearly there and no record would get
them, the source is refused in one line; ``--ignore NAME`` skips them on purpose.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import PassedOverCounts, PassedOverKind
from datasetkit.core.text import first_few, set_of_words

logger = logging.getLogger(__name__)

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
MASKS = set_of_words(
    "mask masks masklet masklets segmentation segmentations segm segs seg rle rles poly polys polygon polygons shapes"
)
_BOXES = frozenset(["bbox", "bboxes", "box", "boxes", "points", "keypoints", "xmin", "xmax", "objects"])
ABOUT_TEXTS = set_of_words("caption captions description descriptions metadata prompt prompts annotations text")
# Strings that say where or which, not what is in the image.
_NO_DESCRIPTIONS = set_of_words(
    "file files filename path paths url uri link id ids key hash sha md5 license licence split source sources author "
    "date format mode status from role type"
)
SPLIT_COLUMN = "split"
TEXT, IMAGE, OTHER = "text", "image", "other"
Leaf = tuple[str, str]


def words_of(name: str) -> set[str]:
    """Return the words of a name, in lower case: ``maskRle`` and ``mask_rle`` have two."""
    return {word.lower() for word in _WORD.findall(name)}


def leaves_of_type(kind: pa.DataType, name: str) -> Iterator[Leaf]:
    """Yield the dotted path and the type of each innermost value of a column."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") < 0:
        for field in kind:
            yield from leaves_of_type(field.type, f"{name}.{field.name}")
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from leaves_of_type(kind.value_type, name)
    else:
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        is_image = pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        is_flag = pa.types.is_boolean(kind)
        yield name, TEXT if is_text else IMAGE if is_image else "flag" if is_flag else OTHER


def leaves_of_value(value: object, name: str) -> Iterator[Leaf]:
    """Yield the dotted path and the type of each innermost value of a JSON value; of lists only the first items."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves_of_value(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for item in value[:3]:
            yield from leaves_of_value(item, name)
    elif value is not None and value != "":
        yield name, TEXT if isinstance(value, str) else "flag" if isinstance(value, bool) else OTHER


def kind_of_leaves(leaves: Collection[Leaf]) -> PassedOverKind:
    """Return what a column holds, judged by the words in its names and by its innermost values."""
    words = set().union(*(words_of(path) for path, _ in leaves))
    kinds = {kind for _, kind in leaves}
    if any(path == SPLIT_COLUMN for path, _ in leaves):
        return PassedOverKind.SPLIT_COLUMN
    if words & MASKS and kinds - {"flag"}:
        return PassedOverKind.MASK_COLUMN
    if IMAGE in kinds:
        return PassedOverKind.IMAGE_COLUMN
    if words & _BOXES and OTHER in kinds:
        return PassedOverKind.BOX_COLUMN
    return PassedOverKind.TEXT_COLUMN if texts_among(leaves) else PassedOverKind.OTHER_COLUMN


def texts_among(leaves: Collection[Leaf]) -> list[str]:
    """Return the paths of the innermost values that may be descriptions."""
    found = dict.fromkeys(path for path, kind in leaves if kind == TEXT)
    return [path for path in found if not words_of(path.rpartition(".")[2]) & _NO_DESCRIPTIONS]


class Unused:
    """What a source has but does not use.

    Args:
        where: name of the source in messages.
        ignore: what is skipped on purpose.

    """

    def __init__(self, where: str, ignore: Sequence[str] = ()) -> None:
        self.where = where
        self.counts = PassedOverCounts()
        self.texts: dict[str, str] = {}
        self._masks: dict[str, None] = {}
        self._ignore = ignore
        self._met: set[str] = set()

    def ignores(self, name: str) -> bool:
        """Count a file or folder that is ignored by its name, its suffix, or a folder above it."""
        parts = name.split("/")
        ignored = {
            one
            for one in self._ignore
            if one.strip("/") in parts
            or name.startswith(f"{one.strip('/')}/")
            or name == one
            or (one.startswith(".") and name.lower().endswith(one.lower()))
        }
        if ignored:
            self._met |= ignored
            self.counts.add(PassedOverKind.IGNORED, name)
        return bool(ignored)

    def column(self, name: str, leaves: Collection[Leaf]) -> None:
        """Count a column, or a key, that is not used."""
        kind = kind_of_leaves(leaves)
        if named := {name, name.lstrip("."), f".{name}"} & {*self._ignore}:
            self._met |= named
            kind = PassedOverKind.IGNORED
        elif kind is PassedOverKind.MASK_COLUMN:
            self.mask(name)
        elif kind is PassedOverKind.TEXT_COLUMN:
            self.texts.update(dict.fromkeys(texts_among(leaves), name))
        self.counts.add(kind, name)

    def member(self, ending: str, *, is_image: bool) -> None:
        """Count a member of an archive that is not used, by its suffix."""
        words = words_of(ending)
        if named := {ending, f".{ending}"} & {*self._ignore}:
            self._met |= named
            kind = PassedOverKind.IGNORED
        elif is_image:
            kind = PassedOverKind.MASK_COLUMN if words & MASKS else PassedOverKind.SECOND_IMAGE
        else:
            kind = PassedOverKind.TEXT_COLUMN if words & ABOUT_TEXTS else PassedOverKind.OTHER_MEMBER
        if kind is PassedOverKind.MASK_COLUMN:
            self.mask(ending)
        elif kind is PassedOverKind.TEXT_COLUMN:
            self.texts[f".{ending}"] = f".{ending}"
        self.counts.add(kind, f".{ending}")

    def mask(self, name: str) -> None:
        """Record that something clearly holds masks."""
        self._masks[name] = None

    def check(self, *, has_texts: bool, no_texts: str, hint: str) -> None:
        """Refuse the source if texts or masks are clearly there, and not used.

        Args:
            has_texts: whether descriptions are read from anywhere.
            no_texts: what was not found.
            hint: how one of the texts that are there can become the descriptions.

        Raises:
            SourceError: names them, and what to do.

        """
        if unmet := [one for one in self._ignore if one not in self._met]:
            logger.warning("--ignore %s matches nothing in %s", " or ".join(unmet), self.where)
        if self._masks:
            names = first_few(self._masks)
            raise SourceError(
                f"{self.where} holds masks in {names}, which this source does not read; to build without them: "
                f"--ignore {next(iter(self._masks))}"
            )
        if self.texts and not has_texts:
            raise SourceError(
                f"{self.where} has {no_texts}; it has {first_few(self.texts, 8)}; {hint}; to build without: "
                + " ".join(f"--ignore {name}" for name in dict.fromkeys(self.texts.values()))
            )
