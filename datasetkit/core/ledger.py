"""What happened to the things that were read: drops with constant reasons, notices, and their counts.

Owns the vocabulary of reasons. Nothing leaves the pipeline except through a :class:`Drop`, so that
``kept + dropped == read`` holds for records, for the source's annotations and for models' detections apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, get_args

Scope = Literal["record", "annotation", "detection"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class DropReason(StrEnum):
    """Why a record, an annotation or a detection was left out. The value is what ledger, manifest and card show."""

    MISSING = "missing"
    NAME_ONLY = "name_only"
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
    BAD_ROW = "bad_row"
    FILTERED = "filtered"
    RECORD_DROPPED = "record_dropped"
    RELABELLED = "relabelled"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"
    EMPTY_MASK = "empty_mask"
    DUPLICATE_MASK = "duplicate_mask"
    CONTAINED_MASK = "contained_mask"
    GROUP_BOX = "group_box"
    WHOLE_IMAGE = "whole_image"
    LOW_DETECTION = "low_detection"
    LOW_PREDICTED_IOU = "low_predicted_iou"
    LOW_STABILITY = "low_stability"
    LOW_SIMILARITY = "low_similarity"
    LOW_CLEANING_IOU = "low_cleaning_iou"
    TOO_SMALL = "too_small"
    NAMED_BY_NO_PHRASE = "named_by_no_phrase"
    NO_KEY_OBJECT = "no_key_object"
    SPECIAL_TOKEN = "special_token"  # noqa: S105 - no secret
    TEXT_TOO_LONG = "text_too_long"
    NO_TOKENS = "no_tokens"
    TOO_NARROW = "too_narrow"

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
    DropReason.NAME_ONLY: "the row names its picture but does not hold it; put the bytes into the rows, or use `build "
    "folder` with the rows as metadata.parquet beside the pictures, their names in file_name",
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
    DropReason.BAD_ROW: "what stands beside the picture makes no valid record",
    DropReason.FILTERED: "a filter of the recipe refused it",
    DropReason.RECORD_DROPPED: "the record that it belongs to was dropped",
    DropReason.RELABELLED: "the source's own mask gave way to those that models found",
    DropReason.OUT_OF_MEMORY: "the model ran out of memory with this picture alone",
    DropReason.NOT_FINITE: "the model answered with numbers that are not finite",
    DropReason.EMPTY_MASK: "the segmenter found no pixel in the box",
    DropReason.DUPLICATE_MASK: "a better mask covers almost the same; its phrases went over to that one",
    DropReason.CONTAINED_MASK: "the mask lies within a better one of the same phrase",
    DropReason.GROUP_BOX: "the mask takes in several others of the same phrase",
    DropReason.WHOLE_IMAGE: "the box covers almost the whole picture",
    DropReason.LOW_DETECTION: "the detector is not sure enough of the box",
    DropReason.LOW_PREDICTED_IOU: "the segmenter expects a poor mask",
    DropReason.LOW_STABILITY: "the mask changes much with the threshold it is cut at",
    DropReason.LOW_SIMILARITY: "the crop and its phrase do not look alike to the image-text model",
    DropReason.LOW_CLEANING_IOU: "cleaning took too much of the mask away, or added too much",
    DropReason.TOO_SMALL: "the mask covers too little of the picture",
    DropReason.NAMED_BY_NO_PHRASE: "no phrase of the description took it",
    DropReason.NO_KEY_OBJECT: "no object that a phrase names, or no mask: there is nothing for a head to look at",
    DropReason.SPECIAL_TOKEN: "the text holds a special token of the model",
    DropReason.TEXT_TOO_LONG: "prompt, picture and text together are longer than the model's context",
    DropReason.NO_TOKENS: "no token of the text stands at any of the positions that are scored",
    DropReason.TOO_NARROW: "the picture is longer, for its width, than the model takes",
}

_MAY_PASS_LATER = frozenset(
    {
        DropReason.MISSING,
        DropReason.EMPTY,
        DropReason.TRUNCATED,
        DropReason.NOT_AN_IMAGE,
        DropReason.UNREADABLE,
        DropReason.OUT_OF_MEMORY,
    }
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
    PROMPT_SPLIT = "prompt_split"
    PHRASE_CUT = "phrase_cut"
    CAPTIONED = "captioned"
    CAPTION_CUT = "caption_cut"

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
    NoticeKind.PROMPT_SPLIT: "the phrases were more than the detector takes at once; they were asked for in turns",
    NoticeKind.PHRASE_CUT: "a phrase is longer than the detector reads; its end was not seen",
    NoticeKind.CAPTIONED: "a model wrote the description",
    NoticeKind.CAPTION_CUT: "the captioner had not ended when it had written as much as it may",
    NoticeKind.TRANSPARENCY_OVER_WHITE: "the picture has transparency; it was laid over white",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """One record, annotation or detection that was left out.

    ``item_id`` is the record id, the annotation's id for scope ``annotation``, or the record id, ``#`` and the
    detection's number for scope ``detection``. ``row`` is the record's place among rows that were read, from 0; None
    where it was not read from rows.
    """

    scope: Scope
    item_id: str
    reason: DropReason
    detail: str
    row: int | None = None


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
    dropped: dict[Scope, Counter[DropReason]] = field(default_factory=lambda: {scope: Counter() for scope in SCOPES})
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
            **{
                f"{scope}s": {
                    "read": self.read[scope],
                    "kept": self.kept[scope],
                    "dropped": {reason.value: count for reason, count in sorted(self.dropped[scope].items())},
                }
                for scope in SCOPES
            },
            "notices": {kind.value: self.notices[kind] for kind in sorted(self.notices)},
        }

    @classmethod
    def from_json(cls, value: dict[str, dict]) -> Tally:
        """Read what :meth:`to_json` wrote."""
        tally = cls()
        for scope in SCOPES:
            counts = value[f"{scope}s"]
            tally.read[scope] = counts["read"]
            tally.kept[scope] = counts["kept"]
            tally.dropped[scope] = Counter({DropReason(name): n for name, n in counts["dropped"].items()})
        tally.notices = Counter({NoticeKind(name): n for name, n in value["notices"].items()})
        return tally
