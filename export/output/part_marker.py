"""The marker that completes a part. Owns its contents.

It is read to resume a build, and once more when the dataset is published, for the counts of the part's rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from datasetkit.core.documents import load_json
from datasetkit.export.dataset.manifest import Part
from datasetkit.export.output.journal import Journal
from datasetkit.export.statistics.counter import StatisticsCounter


def marker_name(index: int) -> str:
    """Return the name of the marker of a part."""
    return f"part-{index:05d}.json"


@dataclass(frozen=True, slots=True)
class PartMarker:
    """Contents of a marker.

    Args:
        build: the build that the part is of.
        attempt: the attempt that completed it.
        part: the part.
        counts: of its rows.

    """

    build: str
    attempt: str
    part: Part
    counts: StatisticsCounter

    def to_bytes(self) -> bytes:
        """Return the marker as JSON."""
        value = {"part": self.part.to_json(), "counts": self.counts.to_json()}
        return json.dumps({"build": self.build, "attempt": self.attempt, **value}).encode()

    @classmethod
    def read(cls, journal: Journal, index: int, build: str) -> PartMarker | None:
        """Read the marker of a part; None if there is none, or it is of another build.

        A part with a damaged marker, or that of another part, counts as not built.
        """
        with suppress(FileNotFoundError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            found: Mapping[str, Any] = load_json(journal.read(marker_name(index)))
            part, counts = Part.from_json(found["part"]), StatisticsCounter.from_json(found["counts"])
            if found["build"] == build and part.index == index and isinstance(found["attempt"], str):
                return cls(build, found["attempt"], part, counts)
        return None
