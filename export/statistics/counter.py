"""Counting of rows for statistics. Owns what is counted, and the counts that a part leaves for the whole dataset.

Rows are counted once, where they are written: each part leaves its counts as JSON, and the dataset's are their sum. All
counts are whole numbers, so equal rows give equal statistics however they are divided into parts. Images are not read.
"""

from __future__ import annotations

import base64
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.paths import Place
from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.export.dataset.manifest import Manifest, split_rank
from datasetkit.export.dataset.plain_json import require_counts
from datasetkit.export.dataset.reading import iter_shard, open_shard
from datasetkit.export.statistics.model_scores import ScoreCounter
from datasetkit.export.statistics.statistics import BINS, COUNTS, Histogram, Statistics, Summary

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


class StatisticsCounter:
    """Counts rows as :class:`Statistics`."""

    def __init__(self) -> None:
        self._splits: dict[str, _SummaryCounter] = {}

    def add_row(self, split: str, row: Mapping[str, Any]) -> None:
        """Count one row, which may lack its images."""
        self._split(split).add(row)

    def add_bytes(self, split: str, num_bytes: int) -> None:
        """Add the size of a shard's columns before compression; see :func:`uncompressed_bytes`."""
        self._split(split).counts["num_bytes"] += num_bytes

    def add_shard(self, split: str, path: Place) -> None:
        """Count the rows of a shard.

        Raises:
            BuiltFolderError: it cannot be read.

        """
        self.add_bytes(split, uncompressed_bytes(path))
        for row in iter_shard(path, _COLUMNS):
            self.add_row(split, row)

    def update(self, other: StatisticsCounter) -> None:
        """Add the counts of other rows."""
        for split, counter in other._splits.items():
            self._split(split).update(counter)

    def finish(self) -> Statistics:
        """Return the statistics of all rows added so far, with the splits in the order of their shards."""
        total = _SummaryCounter()
        for counter in self._splits.values():
            total.update(counter)
        splits = {split: self._splits[split].finish() for split in sorted(self._splits, key=split_rank)}
        return Statistics(splits, total.finish())

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON; of the SHA-256 of each distinct image, eight bytes."""
        return {split: counter.to_json() for split, counter in sorted(self._splits.items())}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StatisticsCounter:
        """Read what :meth:`to_json` returned.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not of that form.

        """
        counter = cls()
        counter._splits = {split: _SummaryCounter.from_json(counts) for split, counts in value.items()}
        return counter

    def _split(self, split: str) -> _SummaryCounter:
        if split not in self._splits:
            self._splits[split] = _SummaryCounter()
        return self._splits[split]


def compute_statistics(folder: Path, manifest: Manifest) -> Statistics:
    """Count the rows of a built folder, shard by shard.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    counter = StatisticsCounter()
    for shard in manifest.shards:
        counter.add_shard(shard.split, folder / shard.path)
    return counter.finish()


def uncompressed_bytes(path: Place) -> int:
    """Return the size of the columns of a shard before compression, from its footer."""
    with open_shard(path) as file:
        return sum(file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups))


class _SummaryCounter:
    """Counts the rows of one split as a :class:`Summary`.

    Distinct images are those with different first eight bytes of the SHA-256 of their source. Among ten million images,
    a pair that differs only in the others has a probability of 3e-6, and would change the count by one.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._histograms = {name: [0] * len(lower) for name, lower in BINS.items()}
        self._named = {
            "phrase_status": Counter({status.value: 0 for status in PhraseStatus}),
            "object_status": Counter({status.value: 0 for status in ObjectStatus}),
            "categories": Counter[str](),
            "licenses": Counter[str](),
            "picture_sizes": Counter[str](),
        }
        self._reasons: dict[str, Counter[str]] = {status.value: Counter() for status in PhraseStatus}
        self._scores = ScoreCounter()
        self._images = array("Q")

    def add(self, row: Mapping[str, Any]) -> None:
        objects, phrases = row["objects"], row["phrases"]
        self.counts["records"] += 1
        self.counts["questions"] += len(row["questions"])
        if row["description"] is not None:
            self.counts["described"] += 1
            self._bin("description_words", len(row["description"].split()))
        self._named["licenses"][row["source"]["license"]] += 1
        self._images.append(int(row["source"]["sha256"][:16], 16))
        self._named["picture_sizes"][f"{row['width']} x {row['height']}"] += 1
        self._bin("longer_side_px", max(row["width"], row["height"]))
        self._bin("objects_per_record", len(objects))
        self._bin("key_objects_per_record", sum(bool(item["is_key"]) for item in objects))
        self._bin("phrases_per_record", len(phrases))
        for item in objects:
            self._add_object(item, row["width"] * row["height"])
        for phrase in phrases:
            self.counts["phrases"] += 1
            self.counts["links"] += len(phrase["object_ids"])
            self.counts["candidates"] += len(phrase["candidates"])
            self._named["phrase_status"][phrase["status"]] += 1
            if phrase["reason"] is not None:
                self._reasons[phrase["status"]][phrase["reason"]] += 1

    def _add_object(self, item: Mapping[str, Any], pixels: int) -> None:
        self.counts["objects"] += 1
        self.counts["key_objects"] += bool(item["is_key"])
        self.counts["crowds"] += bool(item["is_crowd"])
        self._named["object_status"][item["status"]] += 1
        self._scores.add(item["scores"])
        if item["area"] is None:
            self.counts["without_mask"] += 1
        else:
            self._bin("mask_share", item["area"] / pixels)
        if item["category"] is None:
            self.counts["uncategorised"] += 1
        else:
            self._named["categories"][item["category"]] += 1

    def _bin(self, name: str, value: float) -> None:
        self._histograms[name][max(0, bisect_right(BINS[name], value) - 1)] += 1

    def update(self, other: _SummaryCounter) -> None:
        """Add the counts of other rows."""
        self.counts.update(other.counts)
        for name, counts in other._histograms.items():
            self._histograms[name] = [one + more for one, more in zip(self._histograms[name], counts, strict=True)]
        for name, named in other._named.items():
            self._named[name].update(named)
        for status, reasons in other._reasons.items():
            self._reasons[status].update(reasons)
        self._scores.update(other._scores)
        self._images.extend(other._images)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON."""
        images = self._distinct_images().astype("<u8")
        return {
            "counts": {name: self.counts[name] for name in COUNTS},
            "histograms": self._histograms,
            "named": self._named,
            "reasons": self._reasons,
            "scores": self._scores.to_json(),
            "images": base64.b64encode(images.tobytes()).decode("ascii"),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _SummaryCounter:
        """Read what :meth:`to_json` returned."""
        counter = cls()
        counter.counts.update({name: value["counts"][name] for name in COUNTS})
        counter._histograms = {name: list(value["histograms"][name]) for name in BINS}
        for name, named in counter._named.items():
            named.update(dict(value["named"][name]))
        for status, reasons in counter._reasons.items():
            reasons.update(dict(value["reasons"][status]))
        for counts in (counter.counts, *counter._named.values(), *counter._reasons.values()):
            require_counts(*counts.values())
        for name, lower in BINS.items():
            require_counts(*counter._histograms[name])
            if len(counter._histograms[name]) != len(lower):
                raise ValueError(f"{name} must have {len(lower)} bins")
        counter._scores = ScoreCounter.from_json(value["scores"])
        images = np.frombuffer(base64.b64decode(value["images"], validate=True), dtype="<u8")
        counter._images.frombytes(images.astype(np.uint64).tobytes())
        return counter

    def finish(self) -> Summary:
        """Return the statistics of all rows added so far."""
        values: dict[str, Any] = {
            name: Histogram(tuple(map(float, BINS[name])), tuple(counts)) for name, counts in self._histograms.items()
        }
        values |= {name: self.counts[name] for name in COUNTS}
        return Summary(
            **values,
            pictures=self._distinct_images().size,
            phrase_status=dict(self._named["phrase_status"]),
            phrase_reasons={status: _ranked(reasons) for status, reasons in self._reasons.items()},
            object_status=dict(self._named["object_status"]),
            scores=self._scores.finish(),
            category_count=len(self._named["categories"]),
            categories=_ranked(self._named["categories"], CATEGORIES_KEPT),
            licenses=_ranked(self._named["licenses"]),
            picture_sizes=_ranked(self._named["picture_sizes"], PICTURE_SIZES_KEPT),
        )

    def _distinct_images(self) -> NDArray[np.uint64]:
        return np.unique(np.frombuffer(self._images, dtype=np.uint64))


def _ranked(counts: Mapping[str, int], limit: int | None = None) -> dict[str, int]:
    """Return the counts, most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
