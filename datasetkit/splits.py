"""Which split a picture goes to. Owns the assignment by hash, which keeps equal pictures together."""

from __future__ import annotations

from collections.abc import Mapping

_HASH_DIGITS = 13


def split_by_hash(sha256: str, shares: Mapping[str, float]) -> str:
    """Choose a split by the picture's hash: the same bytes always go to the same split.

    Args:
        sha256: hex digest of the picture's bytes.
        shares: share of each split, in order, adding up to 1.

    """
    # 13 hexadecimal digits are 52 bits, which a float holds exactly.
    place = int(sha256[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if place < edge:
            return name
    return name
