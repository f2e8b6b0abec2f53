"""A built folder as the formats read it: splits, categories, and spans of images, which workers convert.

Owns the grouping of consecutive records of one image that agree about it. Keeps only a few records in memory.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from datasetkit.core.errors import BuiltFolderError, EngineError
from datasetkit.core.files import file_sha256
from datasetkit.core.label_map import UNNAMED, Category, LabelMap
from datasetkit.core.text import counted
from datasetkit.export.dataset.manifest import Manifest, Shard
from datasetkit.export.dataset.reading import iter_shard
from datasetkit.export.formats.images import (
    IMAGE_COLUMNS,
    OBJECT_COLUMNS,
    ImageRecords,
    Row,
    image_key,
    known_suffix,
    object_keys_of_rows,
)
from datasetkit.export.formats.spans import ConversionWork, Plan, Span
from datasetkit.options.engines import WorkerOptions
from datasetkit.runtime.engines.in_order import MOST_DEATHS, TaskProgress, in_order
from datasetkit.runtime.engines.protocol import Died
from datasetkit.runtime.progress import OnProgress

Converted = TypeVar("Converted")
_SPAN_RECORDS = 250
_AHEAD_PER_WORKER = 4
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_CATEGORY_COLUMNS = ("objects.list.element.category", *IMAGE_COLUMNS[-2:])


class _Numbers:
    """Ids, and whether they are different integers."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._are_whole = True

    def add(self, text: str | None) -> None:
        """Add an id."""
        self._are_whole = self._are_whole and text is not None and bool(_WHOLE.fullmatch(text))
        if self._are_whole:
            self._numbers.append(int(text or 0))

    @property
    def are_ids(self) -> bool:
        """Whether all are integers, without repeats."""
        return self._are_whole and len(np.unique(np.array(self._numbers))) == len(self._numbers)


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of a split in its source.

    Args:
        are_image_ids: whether the images have different integers as ids.
        are_object_ids: the same of the objects.
        object_counts: number of objects of each image.

    """

    are_image_ids: bool
    are_object_ids: bool
    object_counts: array[int]


class BuiltDataset:
    """The exported splits of a built folder.

    Args:
        folder: the folder.
        split: the only split to export; None for all.

    Raises:
        BuiltFolderError: the folder contains no build, or not that split.

    """

    def __init__(self, folder: Path, split: str | None = None) -> None:
        self._folder = folder
        self._manifest = Manifest.read(folder)
        rows = self._manifest.split_rows
        if split is not None and split not in [*rows]:
            raise BuiltFolderError(f"{folder} has no split {split!r}; it has {', '.join(rows) or 'none'}")
        self._sound: set[str] = set()
        self.splits = tuple(rows) if split is None else (split,)
        self._records = sum(rows[name] for name in self.splits)

    @contextmanager
    def converting(self, workers: WorkerOptions, on_progress: OnProgress | None = None) -> Iterator[Self]:
        """Have workers for :meth:`converted` while the context lasts.

        Args:
            workers: how many, and where.
            on_progress: called with "exporting", the number of finished records, and their total number.

        """
        self._progress = TaskProgress("exporting", self._records, on_progress)
        seats = workers.seats(-(-self._records // _SPAN_RECORDS), self._records)
        self._ahead = _AHEAD_PER_WORKER * len(seats)
        with workers.open(seats) as self._engine:
            self._engine.start(ConversionWork())
            yield self

    def plans(self, split: str) -> Iterator[Plan]:
        """Yield the images of a split in spans of about equal size, in order.

        Raises:
            BuiltFolderError: a shard does not match the manifest, or cannot be read.

        """
        index = first = 0
        images: list[list[tuple[Path, int, Row]]] = []
        for image in self._images(split):
            images.append(image)
            if sum(map(len, images)) >= _SPAN_RECORDS:
                yield _plan(index, first, images)
                index, first, images = index + 1, first + len(images), []
        if images:
            yield _plan(index, first, images)

    def converted(
        self, tasks: Iterable[tuple[Span, Callable[[Iterator[ImageRecords]], Converted]]]
    ) -> Iterator[Converted]:
        """Have workers convert spans of a split, and yield what they return, in the order of the spans.

        Raises:
            BuiltFolderError: a row cannot be read, or is not a valid record.
            EngineError: three workers died on a span, or no worker can be kept alive.

        """
        for event in in_order(self._engine, tasks, self._progress.tell, self._ahead):
            span, _ = event.task.payload
            if isinstance(event, Died):
                raise EngineError(
                    f"{span}: {counted(MOST_DEATHS, 'worker')} died on it (the last: {event.how}); give fewer "
                    "--workers if memory is short, or --workers 1 to see what happens in one process"
                )
            self._progress.done(event.task, sum(span.sizes))
            yield event.result

    @property
    def all_splits(self) -> tuple[str, ...]:
        """The splits of the folder, exported or not."""
        return tuple(self._manifest.split_rows)

    @property
    def label_map(self) -> LabelMap:
        """The categories of the source, unchanged."""
        return self._manifest.label_map

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """The label map of the source, followed by other categories in records of all splits, by name.

        Their ids follow the highest one of the label map, or are 1, 2, ... without one. ``object`` is the category of
        objects without one.
        """
        label_map = self._manifest.label_map
        found: set[str] = set()
        for split in self._manifest.split_rows:
            for row in self._rows(split, _CATEGORY_COLUMNS):
                found.update(item["category"] or UNNAMED for item in row["objects"])
                found.update(row.get("absent_categories") or (), row.get("partial_categories") or ())
        # Text of digits counts as its number, as readers do not distinguish them.
        numbers = [int(one.id) for one in label_map if not isinstance(one.id, str) or one.id.isdecimal()]
        more = sorted(found - {category.name for category in label_map})
        new = enumerate(more, start=max([*numbers, 0]) + 1)
        return (*label_map, *(Category(number, name, "") for number, name in new))

    def equal_names(self) -> Counter[str]:
        """Return the number of categories of each repeated name."""
        counts = Counter(category.name for category in self.categories)
        return Counter({name: count for name, count in counts.items() if count > 1})

    def common_suffix(self) -> str | None:
        """Return the lower-case extension that all images of the exported splits share; None if there are several."""
        rows = (row for split in self.splits for row in self._rows(split, ("image.path",)))
        found = {known_suffix(row["image"]["path"]) for row in rows}
        return found.pop() if len(found) == 1 else None

    def ids(self, split: str) -> Ids:
        """Read what the ids of a split are, and the number of objects of each image."""
        images, objects, counts = _Numbers(), _Numbers(), array("I")
        for image in self._images(split, OBJECT_COLUMNS):
            images.add(image[0][2]["image_id"])
            found = object_keys_of_rows([row for _, _, row in image])
            counts.append(len(found))
            for source_id in found.values():
                objects.add(source_id)
        return Ids(images.are_ids, objects.are_ids, counts)

    def _images(self, split: str, columns: Iterable[str] = ()) -> Iterator[list[tuple[Path, int, Row]]]:
        """Yield the rows of each image, each with its shard and its number there."""
        rows = (
            (path, number, row)
            for path in self._shards(split)
            for number, row in enumerate(iter_shard(path, (*IMAGE_COLUMNS, *columns)))
        )
        return (list(image) for _, image in groupby(rows, key=lambda item: image_key(item[2])))

    def _rows(self, split: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        for path in self._shards(split):
            yield from iter_shard(path, columns)

    def _shards(self, split: str) -> Iterator[Path]:
        for shard in self._manifest.shards:
            if shard.split == split:
                self._check(shard)
                yield self._folder / shard.path

    def _check(self, shard: Shard) -> None:
        """Compare a shard with the manifest at its first read."""
        path = self._folder / shard.path
        if shard.path not in self._sound and path.is_file() and file_sha256(path) != shard.sha256:
            raise BuiltFolderError(
                f"{path} does not match the manifest; `datasetkit verify {self._folder}` lists the faults. "
                "Download or rebuild the dataset, then export it"
            )
        self._sound.add(shard.path)


def _plan(index: int, first: int, images: list[list[tuple[Path, int, Row]]]) -> Plan:
    sizes = tuple(map(len, images))
    shards = groupby(((path, number) for image in images for path, number, _ in image), key=lambda item: item[0])
    numbers = ((path, [number for _, number in rows]) for path, rows in shards)
    rows = tuple((path, range(found[0], found[-1] + 1)) for path, found in numbers)
    return Plan(Span(index, first, sizes, rows), tuple(tuple(row for _, _, row in image) for image in images))
