"""Statistics of a built folder as they are published. Owns ``statistics.json``, its counts and their bins.

Equal shards give equal statistics, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from datasetkit.core.documents import DocumentError, read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import write_json
from datasetkit.core.paths import Place
from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.export.dataset.manifest import STATISTICS_NAME
from datasetkit.export.dataset.plain_json import require_counts, require_numbers
from datasetkit.export.statistics.model_scores import ScoreSummary

COUNTS = (
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
BINS: Mapping[str, Sequence[float]] = {
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
        histograms = {name: Histogram(tuple(value[name]["lower"]), tuple(value[name]["counts"])) for name in BINS}
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
    def read(cls, folder: Place) -> Statistics:
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


def _check_counts(value: Mapping[str, Any]) -> None:
    """Refuse a summary with anything else than counts in these fields."""
    require_counts(*(value[name] for name in (*COUNTS, "pictures", "category_count")))
    for name, kind in (
        ("phrase_status", PhraseStatus),
        ("phrase_reasons", PhraseStatus),
        ("object_status", ObjectStatus),
    ):
        if value[name].keys() != {status.value for status in kind}:
            raise ValueError(f"{name} must have {', '.join(kind)}")
    for counts in (*value["phrase_reasons"].values(), *(value[name] for name in _COUNTED)):
        require_counts(*counts.values())
    for name in BINS:
        require_numbers(*value[name]["lower"])
        require_counts(*value[name]["counts"])
        if len(value[name]["lower"]) != len(value[name]["counts"]):
            raise ValueError(f"{name} must have as many counts as bins")
