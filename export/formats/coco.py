"""COCO format: instances with run-length masks, and captions, one file of each per split. Owns the ids in them.

Ids and file names depend on all images before, so they are given before images are converted. The JSON files are
written element by element: each array goes to a temporary file, and these are joined at the end of a split, so that
memory does not grow with the dataset.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from datasetkit.core.label_map import UNNAMED, Category, CategoryId
from datasetkit.core.record import KeyObject
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.coco_entries import annotation, image_entry, record_entry
from datasetkit.export.formats.images import ImageRecords, ObjectKey
from datasetkit.export.formats.names import FileNames, published_name, source_name
from datasetkit.export.formats.pieces import JsonArray, Piece
from datasetkit.export.formats.result import RENAMED, ExportResult, losses
from datasetkit.export.formats.spans import Plan, Span

# Files with the elements of a span, by array.
Pieces = Mapping[str, Path]
_MEANINGS = {
    "unnamed_objects": f'objects without a category, which COCO requires; their category is "{UNNAMED}"',
    "objects_without_mask": "objects without a mask; their segmentation is empty, their area is 0, and only their "
    "box is known",
    "equal_names": "objects of a category whose name is repeated; they have the id of the first one",
    "renamed_pictures": RENAMED,
}
_CAPTION_LISTS = {"annotations": "captions", "uncaptioned": "uncaptioned"}
_ARRAYS = ("images", "instances", *_CAPTION_LISTS.values())


def write_coco(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``instances_SPLIT.json``, ``captions_SPLIT.json`` and ``images/SPLIT/``.

    An image appears once, with the objects of all of its records. Categories are those of the source, in its order. The
    ids of images and annotations are those of the source if all of the split are different integers, or else 1, 2, ...
    ``uncaptioned`` in the captions file contains the records without a description. For keys beyond COCO's see
    :mod:`~datasetkit.export.formats.coco_entries`.
    """
    ids: dict[str, CategoryId] = {}
    for category in dataset.categories:
        ids.setdefault(category.name, category.id)
    counts: Counter[str] = Counter()
    planner = _Planner(dataset, target)
    for split in dataset.splits:
        found = dataset.ids(split)
        terms = _Terms(ids, frozenset(dataset.equal_names()), found.are_image_ids, found.are_object_ids)
        with _SplitFiles(target, split) as files:
            for pieces, more in dataset.converted(planner.tasks(split, terms, found.object_counts)):
                files.take(pieces)
                counts.update(more)
            files.put_together(dataset.categories, planner.licenses)
    return ExportResult(counts["records"], counts["pictures"], counts["objects"], losses(counts, _MEANINGS))


@dataclass(frozen=True, slots=True)
class _Terms:
    """What holds for all images of a split.

    Args:
        categories: category ids by name.
        equal_names: names of several categories.
        keeps_image_ids: whether images have their ids of the source.
        keeps_annotation_ids: the same of annotations.

    """

    categories: Mapping[str, CategoryId]
    equal_names: frozenset[str]
    keeps_image_ids: bool
    keeps_annotation_ids: bool


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What depends on the images before a span.

    Args:
        names: file name of each image.
        licenses: license id of each image.
        objects: number of objects before.
        records: number of records before.

    """

    names: tuple[str, ...]
    licenses: tuple[int, ...]
    objects: int
    records: int


class _Planner:
    """Numbers images, objects, records and licenses in their order, before they are converted.

    Attributes:
        licenses: ids of the licenses so far.

    """

    def __init__(self, dataset: BuiltDataset, target: Path) -> None:
        self._dataset = dataset
        self._target = target
        self._objects = self._records = 0
        self.licenses: dict[str, int] = {}

    def tasks(
        self, split: str, terms: _Terms, object_counts: Sequence[int]
    ) -> Iterator[tuple[Span, Callable[..., tuple[Pieces, Counter[str]]]]]:
        """Yield the tasks of a split."""
        names = FileNames()
        for plan in self._dataset.plans(split):
            numbers = _Numbers(
                tuple(self._name(plan, index, names) for index in range(len(plan.images))),
                tuple(self._license(rows[0]["source"]["license"]) for rows in plan.images),
                self._objects,
                self._records,
            )
            first = plan.span.first
            self._objects += sum(object_counts[first : first + len(plan.images)])
            self._records += sum(plan.span.sizes)
            pieces = {name: self._target / f"{name}_{split}-{plan.span.index:05d}.part" for name in _ARRAYS}
            folder = _image_folder(self._target, split)
            yield plan.span, partial(_convert, terms=terms, numbers=numbers, folder=folder, pieces=pieces)

    def _name(self, plan: Plan, index: int, names: FileNames) -> str:
        first = plan.images[index][0]
        return names.take(published_name(first["source"]["uri"], first["image"]["path"]), partial(plan.name, index))

    def _license(self, name: str) -> int:
        return self.licenses.setdefault(name, len(self.licenses) + 1)


def _convert(
    images: Iterator[ImageRecords], *, terms: _Terms, numbers: _Numbers, folder: Path, pieces: Pieces
) -> tuple[Pieces, Counter[str]]:
    """Write images to the folder of a split, and elements to one file per array; return these with counts."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        arrays = {name: stack.enter_context(Piece(path)) for name, path in pieces.items()}
        for image, name, license_id in zip(images, numbers.names, numbers.licenses, strict=True):
            first = image.records[0]
            image_id = int(first.image_id) if terms.keeps_image_ids else image.number + 1
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image.image.data)
            arrays["images"].add(image_entry(image, image_id, name, license_id, terms.categories))
            objects = image.objects
            ids: dict[ObjectKey, int] = {}
            for key, item in objects.items():
                counts["objects"] += 1
                number = numbers.objects + counts["objects"]
                ids[key] = int(str(item.source_id)) if terms.keeps_annotation_ids else number
                arrays["instances"].add(annotation(item, ids[key], image_id, terms.categories))
            for record in image.records:
                counts["records"] += 1
                entry = record_entry(record, numbers.records + counts["records"], image_id, objects, ids)
                arrays["uncaptioned" if record.description is None else "captions"].add(entry)
            counts["renamed_pictures"] += name != source_name(first.source.uri, first.image.name)
            counts["pictures"] += 1
            _count(objects.values(), terms.equal_names, counts)
    return pieces, counts


def _count(objects: Iterable[KeyObject], equal_names: frozenset[str], counts: Counter[str]) -> None:
    for item in objects:
        counts["unnamed_objects"] += item.category is None
        counts["objects_without_mask"] += item.mask is None
        counts["equal_names"] += item.category in equal_names


def _image_folder(target: Path, split: str) -> Path:
    return target / "images" / split


class _SplitFiles:
    """The files of one split: growing arrays, and the two documents made from them."""

    def __init__(self, target: Path, split: str) -> None:
        _image_folder(target, split).mkdir(parents=True)
        self._target = target
        self._split = split
        self._files: dict[str, BinaryIO] = {}
        self._arrays: dict[str, JsonArray] = {}

    def __enter__(self) -> Self:
        for name in _ARRAYS:
            self._files[name] = (self._target / f"{name}_{self._split}.part").open("w+b")
            self._arrays[name] = JsonArray(self._files[name])
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()
            Path(file.name).unlink()

    def take(self, pieces: Pieces) -> None:
        """Append the elements of a span."""
        for name, path in pieces.items():
            self._arrays[name].take(path)

    def put_together(self, categories: Iterable[Category], licenses: Mapping[str, int]) -> None:
        """Write the two documents."""
        entries = [{"id": number, "name": name, "url": ""} for name, number in licenses.items()]
        spelled = [
            {key: value for key, value in category.to_json().items() if value is not None} for category in categories
        ]
        for document_name, head, lists in (
            ("instances", {"categories": spelled}, {"annotations": "instances"}),
            ("captions", {}, _CAPTION_LISTS),
        ):
            path = self._target / f"{document_name}_{self._split}.json"
            with path.open("wb") as document:
                document.write(b'{"info": {"description": "exported by datasetkit"},\n')
                for key, value in ({"licenses": entries} | head).items():
                    document.write(f'"{key}": {json.dumps(value, ensure_ascii=False)},\n'.encode())
                self._copy_array("images", "images", document)
                for key, name in lists.items():
                    document.write(b",\n")
                    self._copy_array(key, name, document)
                document.write(b"}\n")

    def _copy_array(self, key: str, name: str, document: BinaryIO) -> None:
        document.write(f'"{key}": [\n'.encode())
        self._files[name].seek(0)
        shutil.copyfileobj(self._files[name], document)
        document.write(b"\n]")
