"""Statistics of a built folder, counted from its shards. Owns the counts and their bins.

Images are not read. Equal shards give equal statistics, byte for byte in ``statistics.json``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from datasetkit.core.documents import DocumentError, read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import write_json
from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.export.dataset.manifest import STATISTICS_NAME, Manifest
from datasetkit.export.dataset.model_scores import ScoreCounter, ScoreSummary
from datasetkit.export.dataset.plain_json import require_counts, require_numbers
from datasetkit.export.dataset.reading import iter_rows, open_shard

CATEGORIES_KEPT = 100
PICTURE_SIZES_KEPT = 20

_COLUMNS = [
    "width",
    "height",
    "description",
    *(f"objects.list.element.{name}" for name in ("area", "category", "is_key", "is_crowd", "status", "scores")),
    *(f"phrases.list.element.{name}" for name in ("object_ids", "candidates", "status", "reason")),
    "questions.list.element.type",
    "source.license",
    "source.sha256",
]
_COUNTS = (
    "records",
    "described",
    "num_bytes",
    "objects",
    "key_objects",
    "crowds",
    "without_mask",
    "phrases",
    "questions",
    "links",
    "candidates",
    "uncategorised",
)
_COUNTED = ("phrase_status", "object_status", "categories", "licenses", "picture_sizes")
_MANY = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30, 50)
_BINS: Mapping[str, Sequence[float]] = {
    "objects_per_record": _MANY,
    "key_objects_per_record": _MANY,
    "phrases_per_record": _MANY,
    "description_words": (1, 5, 10, 15, 20, 30, 50, 100, 200, 500),
    "mask_share": (0, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "longer_side_px": (1, 128, 256, 384, 512, 640, 768, 1024, 1536, 2048, 4096),
}


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bin; ``lower`` has the lower bounds, and the last bin has no upper bound."""

    lower: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one split, or of all of them.

    Args:
        images: distinct images, by the SHA-256 of their source.
        num_bytes: size of all columns before compression, bytes.
        key_objects: key objects, which the descriptions mention.
        crowds: objects that cover several things that were not separated.
        without_mask: known objects without a mask.
        links: pairs of a phrase and an object that it names.
        candidates: pairs of an ambiguous phrase and an object that it may name.
        phrase_reasons: phrases that have a reason, by status and reason, most frequent first.
        scores: scores of models by name, as far as they were measured.
        description_words: words per description, separated by white space.
        mask_share: share of the image that each mask covers, in (0, 1].
        longer_side_px: longer side of the upright image.
        category_count: number of categories, including those that ``categories`` leaves out.
        uncategorised: objects without a category.
        categories: objects by category, the most frequent ones first.
        licenses: records by license, most frequent first.
        picture_sizes: records by image size (``width x height``), the most frequent ones first.

    """

    records: int
    described: int
    pictures: int
    num_bytes: int
    objects: int
    key_objects: int
    crowds: int
    without_mask: int
    phrases: int
    questions: int
    links: int
    candidates: int
    phrase_status: Mapping[str, int]
    phrase_reasons: Mapping[str, Mapping[str, int]]
    object_status: Mapping[str, int]
    scores: Mapping[str, ScoreSummary]
    objects_per_record: Histogram
    key_objects_per_record: Histogram
    phrases_per_record: Histogram
    description_words: Histogram
    mask_share: Histogram
    longer_side_px: Histogram
    category_count: int
    uncategorised: int
    categories: Mapping[str, int]
    licenses: Mapping[str, int]
    picture_sizes: Mapping[str, int]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Summary:
        """Read one summary of ``statistics.json``.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not of that form.

        """
        value = {"without_mask": 0, **value}  # missing in rows of schema 1.0
        _check_counts(value)
        histograms = {name: Histogram(tuple(value[name]["lower"]), tuple(value[name]["counts"])) for name in _BINS}
        scores = {name: ScoreSummary(**summary) for name, summary in value["scores"].items()}
        for one in scores.values():
            require_counts(one.measured)
            require_numbers(one.mean, one.p5, one.p25, one.median, one.p75, one.p95)
        return cls(**{**{item.name: value[item.name] for item in fields(cls)}, **histograms, "scores": scores})


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a built folder: by split, in the order of the manifest, and of all splits together."""

    splits: Mapping[str, Summary]
    total: Summary

    @property
    def shared_images(self) -> int:
        """Number of images of one split that are also in another one."""
        return sum(item.pictures for item in self.splits.values()) - self.total.pictures

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain JSON."""
        return {"total": asdict(self.total), "splits": {name: asdict(item) for name, item in self.splits.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Statistics:
        """Read what :meth:`to_json` returned."""
        splits = {name: Summary.from_json(item) for name, item in value["splits"].items()}
        return cls(splits, Summary.from_json(value["total"]))

    def write(self, folder: Path) -> None:
        """Write ``statistics.json``; equal statistics give equal bytes."""
        write_json(folder / STATISTICS_NAME, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Statistics:
        """Read ``statistics.json`` of a built folder.

        Raises:
            BuiltFolderError: there is none, or datasetkit did not write it.

        """
        path = folder / STATISTICS_NAME
        try:
            return cls.from_json(read_json(path))
        except FileNotFoundError:
            raise BuiltFolderError(f"{folder} has no {STATISTICS_NAME}; `datasetkit build` writes it") from None
        except DocumentError as error:
            raise BuiltFolderError(str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuiltFolderError(f"{path} contains no statistics of datasetkit: {error!r}") from error


class StatisticsCounter:
    """Counts rows as :class:`Statistics`; splits are reported in the given order."""

    def __init__(self, splits: Iterable[str]) -> None:
        self._total = _SummaryCounter()
        self._splits = {split: _SummaryCounter() for split in splits}

    def add_bytes(self, split: str, num_bytes: int) -> None:
        """Add the size of a shard's columns before compression."""
        for counter in (self._total, self._splits[split]):
            counter.counts["num_bytes"] += num_bytes

    def add_row(self, split: str, row: Mapping[str, Any]) -> None:
        """Count one row, which may lack its images."""
        for counter in (self._total, self._splits[split]):
            counter.add(row)

    def finish(self) -> Statistics:
        """Return the statistics of all rows added so far."""
        return Statistics({name: item.finish() for name, item in self._splits.items()}, self._total.finish())


def compute_statistics(folder: Path, manifest: Manifest) -> Statistics:
    """Count the rows of a built folder, shard by shard.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    counter = StatisticsCounter(manifest.split_rows)
    for shard in manifest.shards:
        counter.add_bytes(shard.split, uncompressed_bytes(folder / shard.path))
    for shard, row in iter_rows(folder, manifest, _COLUMNS):
        counter.add_row(shard.split, row)
    return counter.finish()


def uncompressed_bytes(path: Path) -> int:
    """Return the size of the columns of a shard before compression, from its footer."""
    with open_shard(path) as file:
        return sum(file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups))


class _SummaryCounter:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._phrase_status = Counter({status.value: 0 for status in PhraseStatus})
        self._phrase_reasons: dict[str, Counter[str]] = {status.value: Counter() for status in PhraseStatus}
        self._object_status = Counter({status.value: 0 for status in ObjectStatus})
        self._scores = ScoreCounter()
        self._histograms = {name: [0] * len(lower) for name, lower in _BINS.items()}
        self._categories: Counter[str] = Counter()
        self._licenses: Counter[str] = Counter()
        self._picture_sizes: Counter[str] = Counter()
        self._images = array("Q")  # eight bytes of each SHA-256: enough to distinguish images, in little memory

    def add(self, row: Mapping[str, Any]) -> None:
        objects, phrases = row["objects"], row["phrases"]
        self.counts["records"] += 1
        self.counts["questions"] += len(row["questions"])
        if row["description"] is not None:
            self.counts["described"] += 1
            self._bin("description_words", len(row["description"].split()))
        self._licenses[row["source"]["license"]] += 1
        self._images.append(int(row["source"]["sha256"][:16], 16))
        self._picture_sizes[f"{row['width']} x {row['height']}"] += 1
        self._bin("longer_side_px", max(row["width"], row["height"]))
        self._bin("objects_per_record", len(objects))
        self._bin("key_objects_per_record", sum(item["is_key"] for item in objects))
        self._bin("phrases_per_record", len(phrases))
        for item in objects:
            self._add_object(item, row["width"] * row["height"])
        for phrase in phrases:
            self.counts["phrases"] += 1
            self.counts["links"] += len(phrase["object_ids"])
            self.counts["candidates"] += len(phrase["candidates"])
            self._phrase_status[phrase["status"]] += 1
            if phrase["reason"] is not None:
                self._phrase_reasons[phrase["status"]][phrase["reason"]] += 1

    def _add_object(self, item: Mapping[str, Any], pixels: int) -> None:
        self.counts["objects"] += 1
        self.counts["key_objects"] += item["is_key"]
        self.counts["crowds"] += item["is_crowd"]
        self._object_status[item["status"]] += 1
        self._scores.add(item["scores"])
        if item["area"] is None:
            self.counts["without_mask"] += 1
        else:
            self._bin("mask_share", item["area"] / pixels)
        if item["category"] is None:
            self.counts["uncategorised"] += 1
        else:
            self._categories[item["category"]] += 1

    def _bin(self, name: str, value: float) -> None:
        self._histograms[name][max(0, bisect_right(_BINS[name], value) - 1)] += 1

    def finish(self) -> Summary:
        values: dict[str, Any] = {
            name: Histogram(tuple(map(float, _BINS[name])), tuple(counts)) for name, counts in self._histograms.items()
        }
        values |= {name: self.counts[name] for name in _COUNTS}
        return Summary(
            **values,
            pictures=int(np.unique(np.frombuffer(self._images, dtype=np.uint64)).size),
            phrase_status=dict(self._phrase_status),
            phrase_reasons={status: _ranked(reasons) for status, reasons in self._phrase_reasons.items()},
            object_status=dict(self._object_status),
            scores=self._scores.finish(),
            category_count=len(self._categories),
            categories=_ranked(self._categories, CATEGORIES_KEPT),
            licenses=_ranked(self._licenses),
            picture_sizes=_ranked(self._picture_sizes, PICTURE_SIZES_KEPT),
        )


def _check_counts(value: Mapping[str, Any]) -> None:
    """Refuse a summary with anything else than counts in these fields."""
    require_counts(*(value[name] for name in (*_COUNTS, "pictures", "category_count")))
    for name, kind in (
        ("phrase_status", PhraseStatus),
        ("phrase_reasons", PhraseStatus),
        ("object_status", ObjectStatus),
    ):
        if value[name].keys() != {status.value for status in kind}:
            raise ValueError(f"{name} must have {', '.join(kind)}")
    for counts in (*value["phrase_reasons"].values(), *(value[name] for name in _COUNTED)):
        require_counts(*counts.values())
    for name in _BINS:
        require_numbers(*value[name]["lower"])
        require_counts(*value[name]["counts"])
        if len(value[name]["lower"]) != len(value[name]["counts"]):
            raise ValueError(f"{name} must have as many counts as bins")


def _ranked(counts: Mapping[str, int], limit: int | None = None) -> dict[str, int]:
    """Return the counts, most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
