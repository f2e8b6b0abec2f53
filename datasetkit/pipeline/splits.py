"""Which split an image belongs to. Owns both ways from an image's hash to a split: by itself, and by exact shares.

By itself, an image stays in its split whatever is added. Exact shares are cut from the sorted hashes of all images, so
an image at a border may move to the next split when others are added.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Self

_HASH_DIGITS = 13
_BEYOND = "g"  # sorts after every hexadecimal digit


def split_by_hash(sha256: str, shares: Mapping[str, float]) -> str:
    """Choose a split by the image's hash: the same bytes always go to the same split.

    Args:
        sha256: hex digest of the image's bytes.
        shares: share of each split, in order; they sum to 1.

    """
    # 13 hexadecimal digits are 52 bits, which a float represents exactly.
    place = int(sha256[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if place < edge:
            return name
    return name


@dataclass(frozen=True, slots=True)
class Cut:
    """Sorted hashes, divided so that each split has exactly its share of them.

    Args:
        names: names of the splits, in order.
        borders: the first hash of each split except the first, rising.

    """

    names: tuple[str, ...]
    borders: tuple[str, ...]

    @classmethod
    def of(cls, hashes: Collection[str], shares: Mapping[str, float]) -> Self:
        """Divide distinct hashes of images; what remains after rounding down goes to the largest remainders."""
        ordered = sorted(set(hashes))
        ends = [*accumulate(exact_counts(len(ordered), shares).values())][:-1]
        return cls(tuple(shares), tuple(ordered[end] if end < len(ordered) else _BEYOND for end in ends))

    def split(self, sha256: str) -> str:
        """Return the split of an image, also of one that was added after the hashes were divided."""
        return self.names[bisect_right(self.borders, sha256)]


def exact_counts(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Divide a number by shares: rounded down, the rest to the largest remainders, of equal ones to the first."""
    exact = {name: Fraction(repr(share)) for name, share in shares.items()}
    exact = {name: total * share / sum(exact.values()) for name, share in exact.items()}
    counts = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
