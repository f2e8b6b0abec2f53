"""What happened to the things that were read: drops with constant reasons, notices, and their counts.

Owns the vocabulary of reasons. Nothing leaves the pipeline except through a :class:`Drop`, so that
``kept + dropped == read`` holds for records, for the source's annotations and for models' detections apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

from datasetkit.core.text import Explained

Scope = Literal["record", "annotation", "detection"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class DropReason(Explained):
    """Why a record, an annotation or a detection was left out. The value is what ledger, manifest and card show."""

    MISSING = "missing", "the picture file is not there"
    NAME_ONLY = (
        "name_only",
        "the row names its picture but does not hold it; put the bytes into the rows, or use `build folder` with the "
        "rows as metadata.parquet beside the pictures, their names in file_name",
    )
    EMPTY = "empty", "the picture file has no bytes"
    TRUNCATED = "truncated", "the picture ends before its last row"
    NOT_AN_IMAGE = "not_an_image", "no picture format that can be read"
    UNSUPPORTED_PIXELS = "unsupported_pixels", "pixels that do not convert to 8-bit RGB without loss of meaning"
    TOO_MANY_BYTES = "too_many_bytes", "the picture file is larger than the byte limit"
    TOO_MANY_PIXELS = "too_many_pixels", "the picture has more pixels than the limit (a decompression bomb)"
    PATH_ESCAPES = "path_escapes", "the picture's name leads out of its folder"
    DUPLICATE_ID = "duplicate_id", "an earlier entry has the same id"
    NO_DESCRIPTION = "no_description", "no description, where one is required"
    SIZE_MISMATCH = "size_mismatch", "the masks were drawn on a picture of another size"
    UNREADABLE = "unreadable", "the picture file could not be opened"
    UNKNOWN_IMAGE = "unknown_image", "the annotation names a picture that the source does not have"
    BAD_POLYGON = "bad_polygon", "a polygon part has fewer than three points or numbers that are no coordinates"
    BAD_MASK = "bad_mask", "run lengths that do not describe a non-empty mask of the picture's size"
    OUTSIDE_IMAGE = "outside_image", "the polygon covers no pixel of the picture"
    BAD_ROW = "bad_row", "what stands beside the picture makes no valid record"
    FILTERED = "filtered", "a filter of the recipe refused it"
    RECORD_DROPPED = "record_dropped", "the record that it belongs to was dropped"
    RELABELLED = "relabelled", "the source's own mask gave way to those that models found"
    OUT_OF_MEMORY = "out_of_memory", "memory ran out with this image alone"
    NOT_FINITE = "not_finite", "the model answered with numbers that are not finite"
    EMPTY_MASK = "empty_mask", "the segmenter found no pixel in the box"
    DUPLICATE_MASK = "duplicate_mask", "a better mask covers almost the same; its phrases went over to that one"
    CONTAINED_MASK = "contained_mask", "the mask lies within a better one of the same phrase"
    GROUP_BOX = "group_box", "the mask takes in several others of the same phrase"
    WHOLE_IMAGE = "whole_image", "the box covers almost the whole picture"
    LOW_DETECTION = "low_detection", "the detector is not sure enough of the box"
    LOW_PREDICTED_IOU = "low_predicted_iou", "the segmenter expects a poor mask"
    LOW_STABILITY = "low_stability", "the mask changes much with the threshold it is cut at"
    LOW_SIMILARITY = "low_similarity", "the crop and its phrase do not look alike to the image-text model"
    LOW_CLEANING_IOU = "low_cleaning_iou", "cleaning took too much of the mask away, or added too much"
    TOO_SMALL = "too_small", "the mask covers too little of the picture"
    NAMED_BY_NO_PHRASE = "named_by_no_phrase", "no phrase of the description took it"
    NO_KEY_OBJECT = "no_key_object", "no object that a phrase names, or no mask: there is nothing for a head to look at"
    SPECIAL_TOKEN = "special_token", "the text holds a special token of the model"
    TEXT_TOO_LONG = "text_too_long", "prompt, picture and text together are longer than the model's context"
    NO_TOKENS = "no_tokens", "no token of the text stands at any of the positions that are scored"
    TOO_NARROW = "too_narrow", "the picture is longer, for its width, than the model takes"

    @property
    def may_pass_later(self) -> bool:
        """Whether the same input could be read on another try (``--retry-failed`` reads it again)."""
        return self in _MAY_PASS_LATER


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


class NoticeKind(Explained):
    """Something about a kept record that its reader may want to know."""

    EXIF_ROTATED = "exif_rotated", "the picture was re-encoded upright, as its EXIF orientation asks"
    EXIF_REMOVED = "exif_removed", "the picture was re-encoded without its EXIF, which is broken and would stop readers"
    MASK_FRAME_ASSUMED_RAW = (
        "mask_frame_assumed_raw",
        "the masks fit the picture before and after its EXIF turn; taken as before",
    )
    ANIMATION_FIRST_FRAME = "animation_first_frame", "the picture is an animation; its first frame counts"
    SIXTEEN_BIT_SCALED = (
        "sixteen_bit_scaled",
        "the picture has 16-bit pixels; masks and overlays were made on it scaled to 8 bit",
    )
    TRANSPARENCY_OVER_WHITE = "transparency_over_white", "the picture has transparency; it was laid over white"
    NO_DESCRIPTION = "no_description", "the picture has no description"
    PROMPT_SPLIT = "prompt_split", "the phrases were more than the detector takes at once; they were asked for in turns"
    PHRASE_CUT = "phrase_cut", "a phrase is longer than the detector reads; its end was not seen"
    CAPTIONED = "captioned", "a model wrote the description"
    CAPTION_CUT = "caption_cut", "the captioner had not ended when it had written as much as it may"


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
