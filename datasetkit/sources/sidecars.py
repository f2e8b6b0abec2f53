"""Files among the images of a folder. Owns which of them describe an image, and what the others clearly hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from posixpath import basename, splitext
from typing import Any

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind, PassedOverKind
from datasetkit.core.paths import Place, read_part
from datasetkit.core.text import set_of_words
from datasetkit.sources.files import CAPTION_COLUMNS, IMAGE_SUFFIXES, as_text, unreadable
from datasetkit.sources.names import composed, folded
from datasetkit.sources.tables import table_kind
from datasetkit.sources.texts import decoded
from datasetkit.sources.unused import (
    ABOUT_TEXTS,
    MASKS,
    Unused,
    kind_of_leaves,
    leaves_of_value,
    words_of,
)

_TEXTS = (".txt", ".caption", ".json")
_LARGEST_TEXT_BYTES = 2**24
_KEYED = IMAGE_SUFFIXES | {*_TEXTS, ".xml", ".npz"}
_HEAD_BYTES = 2**16
_LOOKED_AT = 20
_UNREAD = set_of_words(
    ".heic .heif .jxl .svg .ico .psd .tga .exr .hdr .dds .dng .cr2 .nef .arw .eps .pcx .xcf .icns .dcm"
)
_ARCHIVES = frozenset([".zip", ".tar", ".tgz", ".7z", ".rar", ".zst", ".bz2", ".xz", ".gz"])
_TABLES = set_of_words(".csv .tsv .jsonl .ndjson .json .parquet .arrow .xlsx .xml .yaml .yml .pkl .npz .npy .mat")
_MASK_FOLDERS = MASKS | frozenset(["label", "labels", "annotation", "annotations", "gt"])
_TEXTS_IN_TABLE = re.compile(
    rb"caption|description|sentence|\btext\b|prompt|comment|conversation|file_name|segmentation"
)
# Rows of YOLO's labels: a class, then the relative coordinates of a box or of the corners of an outline.
YOLO_ROWS = re.compile(r"\s*(?:\d+(?:\s+-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?){4,}\s*)+")


class FolderTexts:
    """Texts next to images, and the counts of all files that are neither images, metadata nor such texts.

    Args:
        folder: the folder.
        images: names of all images in it.
        without: names of the images that have no description yet.
        others: names of all other files.
        encoding: of the texts; None for UTF-8, or that of a byte-order mark.
        unused: counts what is not read.

    Attributes:
        names: names of texts by the names of their images.
        changes: how a text's name differs from its image's, by the image's.

    """

    def __init__(
        self,
        folder: Place,
        images: Sequence[str],
        without: Collection[str],
        others: Sequence[str],
        encoding: str | None,
        unused: Unused,
    ) -> None:
        self._folder, self._encoding, self._unused = folder, encoding, unused
        self._by_key: dict[str, list[str]] = {}
        self._by_folded: dict[str, list[str]] = {}
        for name in images:
            for key in (_key(name), name):  # NAME.txt and NAME.jpg.txt
                self._by_key.setdefault(key, []).append(name)
                self._by_folded.setdefault(folded(key), []).append(name)
        adjacent = [name for name in others if _ending(name) in _TEXTS and self._images_of(name)]
        self._json = {image: name for name in adjacent if _ending(name) == ".json" for image in self._images_of(name)}
        useful = self._useful_endings(adjacent)
        self.names: dict[str, str] = {}
        self.changes: dict[str, tuple[NoticeKind, ...]] = {}
        for name in sorted(adjacent, key=self._rank):
            found = self._images_of(name)
            if _ending(name) in useful and len(found) == 1 and found[0] in without and found[0] not in self.names:
                self.names[found[0]] = name
                self._note_change(name, found[0])
        self._count([name for name in others if name not in {*self.names.values()}], bool(without))
        self._find_masks(images)

    def _images_of(self, name: str) -> Sequence[str]:
        """Return the images that a file is named after."""
        key = _key(name)
        return self._by_key.get(key) or self._by_folded.get(folded(key), [])

    def _rank(self, name: str) -> tuple[bool, bool, int]:
        """Return the sort key of an image's texts, the first of which is used: exact names come first."""
        key = _key(name)
        return key not in self._by_key, _ending(key) in IMAGE_SUFFIXES, _TEXTS.index(_ending(name))

    def _note_change(self, name: str, image: str) -> None:
        """Record how a text's name differs from its image's."""
        key = _key(name)
        if key not in self._by_key:
            is_composed = composed(key) in (composed(_key(image)), composed(image))
            self.changes[image] = (NoticeKind.NAME_UNICODE if is_composed else NoticeKind.NAME_CASE,)

    def of(self, image: str) -> object:
        """Read the text of an image; None if there is none.

        Raises:
            UnusableError: it is too long, or in another encoding.

        """
        if image not in self.names:
            return None
        name = self.names[image]
        text = decoded(self._bytes(name), as_text(name), self._encoding)
        if _ending(name) == ".json":
            return caption_in(text, as_text(name))
        return text if text.strip() else _caption(self.values(image))

    def values(self, image: str) -> Mapping[str, Any]:
        """Return the values of the JSON object next to an image; none without a readable one."""
        try:
            text = decoded(self._bytes(self._json[image]), image, self._encoding)
        except (KeyError, UnusableError):
            return {}
        value = _json(text)
        return value if isinstance(value, Mapping) else {}

    def digest(self, image: str) -> str:
        """Return a hash of the text of an image that has one."""
        try:
            return hashlib.sha256(self._bytes(self.names[image])).hexdigest()
        except UnusableError as error:
            return error.detail

    def _bytes(self, name: str, most: int = _LARGEST_TEXT_BYTES) -> bytes:
        path = self._folder / name
        try:
            data = read_part(path, 0, min(most + 1, path.stat().st_size))
        except OSError as error:
            raise unreadable(error, f"{as_text(name)} cannot be read: {error.strerror}") from error
        if len(data) > _LARGEST_TEXT_BYTES:
            raise UnusableError(DropReason.BAD_ROW, f"{as_text(name)} has more than {_LARGEST_TEXT_BYTES:,} bytes")
        return data

    def _useful_endings(self, adjacent: Sequence[str]) -> set[str]:
        """Return the suffixes of files that hold texts, judged by the first few; record what others hold."""
        useful = set()
        for ending in _TEXTS:
            every = [name for name in adjacent if _ending(name) == ending]
            some = every[:: len(every) // _LOOKED_AT + 1]
            texts = [text for name in some if (text := self._text(name)).strip()]
            if ending == ".json":
                values = [value for text in texts if isinstance(value := _json(text), Mapping)]
                leaves = [
                    leaf for value in values for key, item in value.items() for leaf in leaves_of_value(item, key)
                ]
                if leaves and kind_of_leaves(leaves) is PassedOverKind.MASK_COLUMN:
                    self._unused.mask(ending)
                elif any({*CAPTION_COLUMNS} & value.keys() for value in values):
                    useful.add(ending)
            elif texts and all(map(YOLO_ROWS.fullmatch, texts)):
                self._note_labels(texts, ending)
            elif texts:
                useful.add(ending)
        return useful

    def _note_labels(self, texts: Sequence[str], name: str) -> None:
        """Record outlines in YOLO's labels; boxes are only counted."""
        if any(len(line.split()) > 5 for text in texts for line in text.splitlines()):
            self._unused.mask(name)

    def _text(self, name: str) -> str:
        """Read a text to see what it holds; another encoding is reported when its image is read."""
        try:
            data = self._bytes(name)
        except UnusableError:
            return ""
        try:
            return decoded(data, name, self._encoding)
        except UnusableError:
            return data.decode("latin-1")

    def _count(self, others: Sequence[str], lacks_texts: bool) -> None:
        stems = set(map(basename, self._by_key))
        apart: list[str] = []
        looked_at = 0
        for name in others:
            ending = _ending(name)
            is_text = ending in _TEXTS[:2] and basename(_key(name)) in stems
            if is_text and _key(name) not in self._by_key:
                apart.append(name)
            kind = self._kind(name, ending)
            self._unused.counts.add(kind, name)
            if not lacks_texts or looked_at >= _LOOKED_AT:
                continue
            if kind is PassedOverKind.OTHER_TABLE:
                looked_at += 1
                self._unused.texts |= {name: name} if self._has_texts(name) else {}
            elif kind is PassedOverKind.SIDECAR and ending in _TEXTS[:2]:
                looked_at += 1
                self._unused.texts |= {} if self._is_labels(name) else {ending: ending}
        texts = [text for name in apart[:_LOOKED_AT] if (text := self._text(name)).strip()]
        if texts and all(map(YOLO_ROWS.fullmatch, texts)):
            self._note_labels(texts, PurePosixPath(apart[0]).parts[0])
        elif texts and lacks_texts:
            self._unused.texts[apart[0]] = PurePosixPath(apart[0]).parts[0]

    def _is_labels(self, name: str) -> bool:
        return not (text := self._text(name)).strip() or bool(YOLO_ROWS.fullmatch(text))

    def _kind(self, name: str, ending: str) -> PassedOverKind:
        if ending in _UNREAD:
            return PassedOverKind.UNREAD_FORMAT
        if table_kind(name) is None and ending in _ARCHIVES:
            return PassedOverKind.ARCHIVE
        if self._images_of(name):
            return PassedOverKind.SIDECAR
        about = words_of(PurePosixPath(name).stem) & ABOUT_TEXTS
        if ending in _TABLES or table_kind(name) is not None or (ending == ".txt" and about):
            return PassedOverKind.OTHER_TABLE
        return PassedOverKind.OTHER_FILE if ending else PassedOverKind.NO_ENDING

    def _has_texts(self, name: str) -> bool:
        """Return whether the name or the beginning of a table mentions texts."""
        if words_of(PurePosixPath(name).stem) & ABOUT_TEXTS:
            return True
        path = self._folder / name
        try:
            size = path.stat().st_size
            ends = read_part(path, 0, min(size, _HEAD_BYTES)) + read_part(path, max(size - _HEAD_BYTES, 0), _HEAD_BYTES)
        except OSError:
            return False
        return bool(_TEXTS_IN_TABLE.search(ends.replace(b"\0", b"")))

    def _find_masks(self, images: Sequence[str]) -> None:
        """Record folders of masks: images in a folder with such a name, each named like an image elsewhere."""
        of_folder: dict[str, set[str]] = {}
        names = set()
        for name in images:
            above, _, last = splitext(name)[0].rpartition("/")
            folder = next((part for part in above.split("/") if words_of(part) & _MASK_FOLDERS), None)
            if folder is not None:
                of_folder.setdefault(folder, set()).add(last)
            elif words_of(last) & MASKS and f"{above}/{_bare(last)}".lstrip("/") in self._by_key:
                self._unused.mask(name)
            else:
                names.add(last)
        for folder, stems in of_folder.items():
            if names & {*stems, *map(_bare, stems)}:
                self._unused.mask(folder)


def caption_in(text: str, name: str) -> object:
    """Return the description in a JSON object next to an image; None if it has none.

    Raises:
        UnusableError: ``bad_row``: it is not JSON.

    """
    value = _json(text)
    if value is None:
        raise UnusableError(DropReason.BAD_ROW, f"{name} is not JSON")
    return _caption(value) if isinstance(value, Mapping) else None


def _caption(values: Mapping[str, Any]) -> object:
    return next((values[key] for key in CAPTION_COLUMNS if values.get(key)), None)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None


def _ending(name: str) -> str:
    return splitext(name)[1].lower()


def _key(name: str) -> str:
    stem, ending = splitext(name)
    return stem if ending.lower() in _KEYED else name


def _bare(stem: str) -> str:
    """Remove the word that marks a mask: ``a_mask``, ``a-seg``, ``mask_a``."""
    return re.sub(r"(?i)[_.-]?(?:masks?|segmentation|seg|gt|labels?)[_.-]?", "", stem)
