"""Account of everything that was read or left unread: drops, notices, items passed over, and counts.

Owns the vocabulary of reasons. Nothing leaves the pipeline except through a :class:`Drop`, so that
``kept + dropped == read`` holds separately for records, for annotations of the source and for detections of models.
Items that a source has but never reads are :class:`PassedOver`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, get_args

from datasetkit.core.text import Explained

Scope = Literal["record", "annotation", "detection"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class DropReason(Explained):
    """Why a record, an annotation or a detection was dropped. Ledger, manifest and card show the value."""

    MISSING = "missing", "the image file does not exist"
    NAME_ONLY = (
        "name_only",
        "the row names its image but does not contain it; put the bytes into the rows, or use `build folder` with the "
        "rows as metadata.parquet next to the images, and their names in the column file_name",
    )
    EMPTY = "empty", "the image file is empty"
    TRUNCATED = "truncated", "the image ends before its last row"
    NOT_AN_IMAGE = "not_an_image", "not in a supported image format"
    UNSUPPORTED_PIXELS = "unsupported_pixels", "pixels that do not convert to 8-bit RGB without loss of meaning"
    TOO_MANY_BYTES = "too_many_bytes", "the image file is larger than the byte limit"
    TOO_MANY_PIXELS = "too_many_pixels", "the image has more pixels than the limit (a decompression bomb)"
    PATH_ESCAPES = "path_escapes", "the image's name leads outside its folder"
    DUPLICATE_ID = "duplicate_id", "an earlier entry has the same id"
    NO_DESCRIPTION = "no_description", "no description, although one is required"
    SIZE_MISMATCH = "size_mismatch", "the masks were drawn on an image of another size"
    UNREADABLE = "unreadable", "the image file could not be opened"
    UNKNOWN_IMAGE = "unknown_image", "the annotation names an image that the source does not have"
    BAD_ENTRY = "bad_entry", "an entry of the source's file is incomplete or malformed"
    BAD_POLYGON = "bad_polygon", "no polygon part has at least three valid points"
    BAD_MASK = "bad_mask", "run lengths that do not describe a non-empty mask of the image's size"
    OUTSIDE_IMAGE = "outside_image", "the polygon covers no pixel of the image"
    BAD_ROW = "bad_row", "the data that came with the image do not form a valid record"
    NAMED_OTHERWISE = (
        "named_otherwise",
        "a row whose image was not found may belong to this image, which would then lack its description",
    )
    BAD_BOX = "bad_box", "the box has no area, or none inside the image"
    POINTS_ONLY = "points_only", "only points of the object are known, and no segmenter turned them into a mask"
    FILTERED = "filtered", "a filter of the recipe rejected it"
    RECORD_DROPPED = "record_dropped", "the record that it belongs to was dropped"
    RELABELLED = "relabelled", "masks that models found replaced the source's mask"
    OUT_OF_MEMORY = "out_of_memory", "memory ran out even for this image by itself"
    WORKER_DIED = "worker_died", "the process that worked on it ended each time, by a crash or for want of memory"
    NOT_FINITE = "not_finite", "the model returned numbers that are not finite"
    EMPTY_MASK = "empty_mask", "the segmenter found no pixel in the box"
    DUPLICATE_MASK = "duplicate_mask", "a better mask covers almost the same pixels and took over its phrases"
    CONTAINED_MASK = "contained_mask", "the mask is inside a better one of the same phrase"
    GROUP_BOX = "group_box", "the mask covers several others of the same phrase"
    WHOLE_IMAGE = "whole_image", "the box covers almost the whole image"
    LOW_DETECTION = "low_detection", "the detector's confidence in the box is too low"
    LOW_PREDICTED_IOU = "low_predicted_iou", "the IoU that the segmenter predicts for the mask is too low"
    LOW_STABILITY = "low_stability", "the mask changes too much with the threshold"
    LOW_SIMILARITY = "low_similarity", "the image-text model finds crop and phrase too dissimilar"
    LOW_CLEANING_IOU = "low_cleaning_iou", "cleaning removed or added too much of the mask"
    TOO_SMALL = "too_small", "the mask covers too little of the image"
    NAMED_BY_NO_PHRASE = "named_by_no_phrase", "no phrase of the description was linked to it"
    NO_KEY_OBJECT = "no_key_object", "no phrase names an object with a mask, so there is nothing for heads to attend to"
    SPECIAL_TOKEN = "special_token", "the text contains a special token of the model"
    TEXT_TOO_LONG = "text_too_long", "prompt, image and text together are longer than the model's context"
    NO_TOKENS = "no_tokens", "no token of the text is at any of the scored positions"
    TOO_NARROW = "too_narrow", "the aspect ratio of the image is larger than the model allows"

    @property
    def may_pass_later(self) -> bool:
        """Whether another attempt may succeed (``--retry-failed`` reads the input again)."""
        return self in _MAY_PASS_LATER


_MAY_PASS_LATER = frozenset(
    {
        DropReason.MISSING,
        DropReason.EMPTY,
        DropReason.TRUNCATED,
        DropReason.NOT_AN_IMAGE,
        DropReason.UNREADABLE,
        DropReason.OUT_OF_MEMORY,
        DropReason.WORKER_DIED,
    }
)


class NoticeKind(Explained):
    """Something about a kept record that users may want to know."""

    EXIF_ROTATED = "exif_rotated", "the image was re-encoded upright, as its EXIF orientation requires"
    EXIF_REMOVED = "exif_removed", "re-encoded without its EXIF data, which are broken and would make readers fail"
    MASK_FRAME_ASSUMED_RAW = (
        "mask_frame_assumed_raw",
        "the masks fit the image before and after EXIF rotation; read as drawn before it",
    )
    ANIMATION_FIRST_FRAME = "animation_first_frame", "the image is an animation; its first frame was used"
    REENCODED = (
        "reencoded",
        "the image was re-encoded as PNG, RGB 8 bit, with the pixels that were used; readers would decode others from "
        "its file",
    )
    TEXT_REMOVED = (
        "text_removed",
        "texts or a colour profile in the PNG, too long for readers, were removed; its pixels are unchanged",
    )
    END_ADDED = "end_added", "the JPEG lacked only its end marker, which was added"
    SIXTEEN_BIT_SCALED = "sixteen_bit_scaled", "the image has 16-bit pixels, which were scaled to 8 bit"
    RANGE_8_BIT = "range_8_bit", "no 16-bit pixel of the image needs more than 8 bits; they were read as 8 bit"
    RANGE_10_BIT = "range_10_bit", "no 16-bit pixel of the image needs more than 10 bits; they were scaled from 10 bits"
    RANGE_12_BIT = "range_12_bit", "no 16-bit pixel of the image needs more than 12 bits; they were scaled from 12 bits"
    RANGE_14_BIT = "range_14_bit", "no 16-bit pixel of the image needs more than 14 bits; they were scaled from 14 bits"
    TRANSPARENCY_OVER_WHITE = "transparency_over_white", "the image has transparency; it was placed on white"
    NO_DESCRIPTION = "no_description", "the image has no description"
    PROMPT_SPLIT = "prompt_split", "there were more phrases than fit one detector prompt; they were split over several"
    PHRASE_CUT = "phrase_cut", "a phrase is longer than the detector's input; its end was cut off"
    INSTANCE_WITHOUT_MASK = (
        "instance_without_mask",
        "an annotation has no usable mask; the instance counts in the alignment of phrases, but is not a key object",
    )
    CAPTIONED = "captioned", "a model wrote the description"
    ID_RESPELLED = (
        "id_respelled",
        "an id of the image or an annotation was written like 7.0 and read as 7, or was missing and numbered",
    )
    SIZE_UNKNOWN = "size_unknown", "the source states no valid image size; its masks are assumed to fit the image"
    SEGMENTATION_RESPELLED = (
        "segmentation_respelled",
        "a mask was written as a flat list, as a list of points, or with run lengths like 7.0; read as intended",
    )
    POLYGON_PART_DROPPED = (
        "polygon_part_dropped",
        "a polygon part with fewer than three points, or with invalid coordinates, was left out",
    )
    UNKNOWN_CATEGORY = (
        "unknown_category",
        "an annotation's category is missing, or not in the source's list of categories; its object has none",
    )
    ALL_CROWDS = (
        "all_crowds",
        "the source marks every instance as a crowd, as exports of CVAT do; read as single objects "
        "(--crowds keep reads them as crowds)",
    )
    CAPTION_CUT = "caption_cut", "the captioner reached its length limit before the end of the description"
    NAME_BACKSLASHES = "name_backslashes", "backslashes in the image's name were read as slashes"
    NAME_ABSOLUTE = "name_absolute", "the image's name is an absolute path inside the folder"
    NAME_PREFIX = "name_prefix", "the image's name begins with the name of its folder, which was left out"
    NAME_UNICODE = "name_unicode", "the file's name has accents in the other Unicode form (NFC, NFD)"
    NAME_CASE = "name_case", "the file's name differs in case"
    NAME_ENDING = "name_ending", "the image's name lacks the file extension"
    NAMES_DIFFER = (
        "names_differ",
        "the two annotation files give different image names for one id; the first that exists was used",
    )
    NAME_FROM_NUMBER = "name_from_number", "the image's name is a number; it was read as text"
    TEXT_FROM_NUMBER = "text_from_number", "the description is a number; it was read as text"
    FURTHER_TEXTS = "further_texts", "the image has several texts; the first one was used as the description"
    REPEATED_TEXT = "repeated_text", "the image has the description several times; it became one record"
    MARKUP_REMOVED = "markup_removed", "marks that link words to boxes were removed from the description"
    OTHER_BYTES = (
        "other_bytes",
        "the image's bytes do not match source.sha256: an earlier build re-encoded it, or it was changed since then",
    )
    LINKS_GIVEN = "links_given", "phrases and their links came with the description and were kept"
    LINKS_EDITED = (
        "links_edited",
        "links that came with the description contradict the status of its objects; status, salience and "
        "key flags were recomputed from the links",
    )
    LINK_UNUSABLE = (
        "link_unusable",
        "a phrase or a question that came with the description names a missing annotation and was kept "
        "without it, or is invalid and was left out; if no phrase of a description is valid, phrases are found "
        "anew",
    )
    DETAILS_UNUSABLE = (
        "details_unusable",
        "fields of an earlier export of an image or object are invalid; only COCO's own keys were read",
    )
    UNREAD_BESIDE = "unread_beside", "something next to the image could not be read; the rest was read"
    MEMBERS_APART = "members_apart", "the members of the key are not next to each other in their archive"
    DOTS_IN_KEY = "dots_in_key", "the image's name has several dots; its key ends at the last one"


# Notices of records whose image bytes were changed.
CHANGED_BYTES = frozenset(
    {
        NoticeKind.EXIF_ROTATED,
        NoticeKind.EXIF_REMOVED,
        NoticeKind.REENCODED,
        NoticeKind.OTHER_BYTES,
        NoticeKind.TEXT_REMOVED,
        NoticeKind.END_ADDED,
    }
)


class PassedOverKind(Explained):
    """What a source has but does not read."""

    OTHER_FILE = "other_file", "files that are neither images nor descriptions"
    NO_ENDING = "no_ending", "files without an extension; rename those that are images"
    UNREAD_FORMAT = "unread_format", "images in a format that is not read; convert them to JPEG or PNG"
    HIDDEN = "hidden", "files and folders whose name begins with a dot"
    DANGLING_LINK = "dangling_link", "broken links"
    LINKED_AGAIN = "linked_again", "linked folders that are read under another path"
    NOT_A_FILE = "not_a_file", "pipes, sockets and devices"
    CLOSED_FOLDER = "closed_folder", "folders without read permission"
    ARCHIVE = "archive", "archives, which are not unpacked"
    OTHER_TABLE = "other_table", "files that may hold descriptions or objects"
    SIDECAR = "sidecar", "files named like an image, from which nothing was read"
    TEXT_COLUMN = "text_column", "columns or members with text that is not a description"
    MASK_COLUMN = "mask_column", "columns or members with masks"
    BOX_COLUMN = "box_column", "columns with boxes or points"
    SPLIT_COLUMN = "split_column", "columns that name splits"
    IMAGE_COLUMN = "image_column", "columns with further images"
    OTHER_COLUMN = "other_column", "columns that are not used"
    SAME_NAME = "same_name", "columns whose name is repeated"
    SECOND_IMAGE = "second_image", "further images of a key"
    TEXT_ONLY = "text_only", "entries without an image"
    OTHER_MEMBER = "other_member", "members of archives that are neither images nor descriptions"
    IGNORED = "ignored", "items that --ignore names"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Items of one kind that a source has but does not read.

    Args:
        kind: kind of the items.
        count: number of items.
        examples: names of the first ones, never with the folders above the source.

    """

    kind: PassedOverKind
    count: int
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the item as plain JSON."""
        return {**asdict(self), "examples": list(self.examples)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            TypeError: it is not of that form.

        """
        count, examples = value["count"], tuple(value["examples"])
        if not isinstance(count, int) or not all(isinstance(name, str) for name in examples):
            raise TypeError(f"items passed over need a count and examples that are text, not {value!r}")
        return cls(PassedOverKind(value["kind"]), count, examples)


class PassedOverCounts:
    """Counts of what a source passes over, filled while it is indexed."""

    _MOST_EXAMPLES = 3
    _LONGEST_EXAMPLE = 120

    def __init__(self) -> None:
        self._counts: Counter[PassedOverKind] = Counter()
        self._examples: dict[PassedOverKind, dict[str, None]] = {}

    def add(self, kind: PassedOverKind, example: str, count: int = 1) -> None:
        """Count one item, or several of one name."""
        self._counts[kind] += count
        examples = self._examples.setdefault(kind, {})
        if len(examples) < self._MOST_EXAMPLES:
            examples[example.encode("utf-8", "backslashreplace").decode("utf-8")[: self._LONGEST_EXAMPLE]] = None

    def update(self, others: Iterable[PassedOver]) -> None:
        """Add counts of another part of the source."""
        for one in others:
            for number, example in enumerate(one.examples):
                self.add(one.kind, example, 1 if number else one.count - len(one.examples) + 1)

    def __iter__(self) -> Iterator[PassedOver]:
        """Yield the counts, sorted by kind."""
        return (PassedOver(kind, self._counts[kind], tuple(self._examples[kind])) for kind in sorted(self._counts))


@dataclass(frozen=True, slots=True)
class Drop:
    """One dropped record, annotation or detection.

    ``item_id`` is the record id, the annotation's id for scope ``annotation``, or the record id, ``#`` and the
    detection's number for scope ``detection``. ``row`` is the index of the row that was read, from 0; None if the
    record did not come from rows.
    """

    scope: Scope
    item_id: str
    reason: DropReason
    detail: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing about a kept record; ``detail`` names the part of it, where that matters."""

    record_id: str
    kind: NoticeKind
    detail: str = ""


@dataclass(slots=True)
class Tally:
    """Counts of a build, or of a part of it, which can be added.

    ``read`` and ``kept`` are counted by scope, ``dropped`` by scope and reason, ``notices`` by kind.
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
        """Return the counts as plain JSON, sorted by key."""
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
