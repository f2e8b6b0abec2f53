"""What happened to the things that were read: drops with constant reasons, notices, and their counts.

Owns the vocabulary of reasons. Nothing leaves the pipeline except through a :class:`Drop`, so that
``kept + dropped == read`` holds for records and for annotations apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Scope = Literal["record", "annotation"]


class DropReason(StrEnum):
    """Why a record or an annotation was left out. The value is what ledger, manifest and card show."""

    MISSING = "missing"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    PATH_ESCAPES = "path_escapes"
    DUPLICATE_ID = "duplicate_id"
    NO_DESCRIPTION = "no_description"
    SIZE_MISMATCH = "size_mismatch"
    UNREADABLE = "unreadable"
    UNKNOWN_IMAGE = "unknown_image"
    BAD_POLYGON = "bad_polygon"
    BAD_MASK = "bad_mask"
    OUTSIDE_IMAGE = "outside_image"
    RECORD_DROPPED = "record_dropped"

    @property
    def explanation(self) -> str:
        """One plain sentence for cards and tables."""
        return _EXPLANATIONS[self]

    @property
    def may_pass_later(self) -> bool:
        """Whether the same input could be read on another try (``--retry-failed`` reads it again)."""
        return self in _MAY_PASS_LATER


_EXPLANATIONS = {
    DropReason.MISSING: "the picture file is not there",
    DropReason.EMPTY: "the picture file has no bytes",
    DropReason.TRUNCATED: "the picture ends before its last row",
    DropReason.NOT_AN_IMAGE: "no picture format that can be read",
    DropReason.UNSUPPORTED_PIXELS: "pixels that do not convert to 8-bit RGB without loss of meaning",
    DropReason.TOO_MANY_BYTES: "the picture file is larger than the byte limit",
    DropReason.TOO_MANY_PIXELS: "the picture has more pixels than the limit (a decompression bomb)",
    DropReason.PATH_ESCAPES: "the picture's name leads out of its folder",
    DropReason.DUPLICATE_ID: "an earlier entry has the same id",
    DropReason.NO_DESCRIPTION: "no description, where one is required",
    DropReason.SIZE_MISMATCH: "the masks were drawn on a picture of another size",
    DropReason.UNREADABLE: "the picture file could not be opened",
    DropReason.UNKNOWN_IMAGE: "the annotation names a picture that the source does not have",
    DropReason.BAD_POLYGON: "a polygon part has fewer than three points or numbers that are no coordinates",
    DropReason.BAD_MASK: "run lengths that do not describe a non-empty mask of the picture's size",
    DropReason.OUTSIDE_IMAGE: "the polygon covers no pixel of the picture",
    DropReason.RECORD_DROPPED: "the annotation's record was dropped",
}

_MAY_PASS_LATER = frozenset(
    {DropReason.MISSING, DropReason.EMPTY, DropReason.TRUNCATED, DropReason.NOT_AN_IMAGE, DropReason.UNREADABLE}
)


class NoticeKind(StrEnum):
    """Something about a kept record that its reader may want to know."""

    EXIF_ROTATED = "exif_rotated"
    EXIF_REMOVED = "exif_removed"
    MASK_FRAME_ASSUMED_RAW = "mask_frame_assumed_raw"
    ANIMATION_FIRST_FRAME = "animation_first_frame"
    SIXTEEN_BIT_SCALED = "sixteen_bit_scaled"
    TRANSPARENCY_OVER_WHITE = "transparency_over_white"
    NO_DESCRIPTION = "no_description"

    @property
    def explanation(self) -> str:
        """One plain sentence for cards and tables."""
        return _NOTICES[self]


_NOTICES = {
    NoticeKind.EXIF_ROTATED: "the picture was re-encoded upright, as its EXIF orientation asks",
    NoticeKind.EXIF_REMOVED: "the picture was re-encoded without its EXIF, which is broken and would stop readers",
    NoticeKind.MASK_FRAME_ASSUMED_RAW: "the masks fit the picture before and after its EXIF turn; taken as before",
    NoticeKind.ANIMATION_FIRST_FRAME: "the picture is an animation; its first frame counts",
    NoticeKind.SIXTEEN_BIT_SCALED: "the picture has 16-bit pixels; masks and overlays were made on it scaled to 8 bit",
    NoticeKind.NO_DESCRIPTION: "the picture has no description",
    NoticeKind.TRANSPARENCY_OVER_WHITE: "the picture has transparency; it was laid over white",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """One record or annotation that was left out.

    ``item_id`` is the record id, or the annotation's id for scope ``annotation``.
    """

    scope: Scope
    item_id: str
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing about a record that was kept."""

    record_id: str
    kind: NoticeKind


@dataclass(slots=True)
class Tally:
    """Counts of one build, or of a part of one; parts add up.

    ``read`` and ``kept`` count by scope, ``dropped`` by scope and reason, ``notices`` by kind.
    """

    read: Counter[Scope] = field(default_factory=Counter)
    kept: Counter[Scope] = field(default_factory=Counter)
    dropped: dict[Scope, Counter[DropReason]] = field(
        default_factory=lambda: {"record": Counter(), "annotation": Counter()}
    )
    notices: Counter[NoticeKind] = field(default_factory=Counter)

    def add_drop(self, drop: Drop) -> None:
        """Count one drop."""
        self.dropped[drop.scope][drop.reason] += 1

    def update(self, other: Tally) -> None:
        """Add the counts of another part."""
        self.read.update(other.read)
        self.kept.update(other.kept)
        for scope, reasons in other.dropped.items():
            self.dropped[scope].update(reasons)
        self.notices.update(other.notices)

    def to_json(self) -> dict[str, object]:
        """Give the counts as plain JSON, keys sorted."""
        return {
            "records": self._scope_json("record"),
            "annotations": self._scope_json("annotation"),
            "notices": {kind.value: self.notices[kind] for kind in sorted(self.notices)},
        }

    def _scope_json(self, scope: Scope) -> dict[str, object]:
        dropped = self.dropped[scope]
        return {
            "read": self.read[scope],
            "kept": self.kept[scope],
            "dropped": {reason.value: dropped[reason] for reason in sorted(dropped)},
        }

    @classmethod
    def from_json(cls, value: dict[str, dict]) -> Tally:
        """Read what :meth:`to_json` wrote."""
        tally = cls()
        scopes: tuple[tuple[Scope, str], ...] = (("record", "records"), ("annotation", "annotations"))
        for scope, key in scopes:
            tally.read[scope] = value[key]["read"]
            tally.kept[scope] = value[key]["kept"]
            tally.dropped[scope] = Counter({DropReason(name): n for name, n in value[key]["dropped"].items()})
        tally.notices = Counter({NoticeKind(name): n for name, n in value["notices"].items()})
        return tally
