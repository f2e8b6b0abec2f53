"""The marker that completes a part. Owns its contents.

It is read to resume a build, and once more when the dataset is published, for the counts of the part's rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from datasetkit.core.documents import load_json
from datasetkit.core.text import is_split_name
from datasetkit.export.dataset.manifest import Part, Shard, is_shard_name
from datasetkit.export.output.journal import Journal
from datasetkit.export.statistics.counter import StatisticsCounter

_ATTEMPT = re.compile(r"[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def stem_of(index: int, attempt: str) -> str:
    """Return what the names of the files of an attempt begin with."""
    return f"part-{index:05d}.{attempt}"


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
        ledger_sha256: hex digest of its lines of the ledger.
        account_sha256: hex digest of the recorded state of its input files.

    """

    build: str
    attempt: str
    part: Part
    counts: StatisticsCounter
    ledger_sha256: str
    account_sha256: str

    def to_bytes(self) -> bytes:
        """Return the marker as JSON."""
        names = {"build": self.build, "attempt": self.attempt}
        value = {"part": self.part.to_json(), "counts": self.counts.to_json()}
        digests = {"ledger_sha256": self.ledger_sha256, "account_sha256": self.account_sha256}
        return json.dumps({**names, **value, **digests}).encode()

    @classmethod
    def read(cls, journal: Journal, index: int, build: str) -> PartMarker | None:
        """Read the marker of a part; None if there is none, or it is of another build.

        A part with a damaged marker, or that of another part, counts as not built. So does one whose files would be
        elsewhere: a journal that others can write to must not lead out of it.
        """
        with suppress(FileNotFoundError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            found: Mapping[str, Any] = load_json(journal.read(marker_name(index)))
            part, counts = Part.from_json(found["part"]), StatisticsCounter.from_json(found["counts"])
            marker = cls(build, found["attempt"], part, counts, found["ledger_sha256"], found["account_sha256"])
            if found["build"] == build and part.index == index and marker._is_sound:
                return marker
        return None

    @property
    def _is_sound(self) -> bool:
        digests = all(_SHA256.fullmatch(digest) for digest in (self.ledger_sha256, self.account_sha256))
        return digests and bool(_ATTEMPT.fullmatch(self.attempt)) and all(map(self._is_own, self.part.shards))

    def _is_own(self, shard: Shard) -> bool:
        """Whether a shard is a file of the attempt, or one of the published dataset that is carried over."""
        name = f"{stem_of(self.part.index, self.attempt)}-{shard.split}.parquet"
        return is_split_name(shard.split) and (shard.path == name or is_shard_name(shard.path))
