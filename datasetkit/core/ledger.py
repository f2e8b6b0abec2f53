"""What happened to the things that were read, and what was not read: drops, notices, things passed over, and counts.

Owns the vocabulary of reasons. Nothing leaves the pipeline except through a :class:`Drop`, so that
``kept + dropped == read`` holds for records, for the source's annotations and for models' detections apart. What a
source has but never reads is a :class:`PassedOver`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, get_args

from datasetkit.core.text import Explained

Scope = Literal["record", "annotation", "detection"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class DropReason(Explained):
    """Why a record, an annotation or a detection was left out. The value is what ledger, manifest and card show."""

    MISSING = "missing", "the image file is not there"
    NAME_ONLY = (
        "name_only",
        "the row names its image but does not hold it; put the bytes into the rows, or use `build folder` with the "
        "rows as metadata.parquet beside the images, their names in file_name",
    )
    EMPTY = "empty", "the image file has no bytes"
    TRUNCATED = "truncated", "the image ends before its last row"
    NOT_AN_IMAGE = "not_an_image", "no image format that can be read"
    UNSUPPORTED_PIXELS = "unsupported_pixels", "pixels that do not convert to 8-bit RGB without loss of meaning"
    TOO_MANY_BYTES = "too_many_bytes", "the image file is larger than the byte limit"
    TOO_MANY_PIXELS = "too_many_pixels", "the image has more pixels than the limit (a decompression bomb)"
    PATH_ESCAPES = "path_escapes", "the image's name leads out of its folder"
    DUPLICATE_ID = "duplicate_id", "an earlier entry has the same id"
    NO_DESCRIPTION = "no_description", "no description, where one is required"
    SIZE_MISMATCH = "size_mismatch", "the masks were drawn on an image of another size"
    UNREADABLE = "unreadable", "the image file could not be opened"
    UNKNOWN_IMAGE = "unknown_image", "the annotation names an image that the source does not have"
    BAD_ENTRY = "bad_entry", "an entry of the source's file lacks what it needs, or is no such entry"
    BAD_POLYGON = "bad_polygon", "no polygon part has at least three points, all of them coordinates"
    BAD_MASK = "bad_mask", "run lengths that do not describe a non-empty mask of the image's size"
    OUTSIDE_IMAGE = "outside_image", "the polygon covers no pixel of the image"
    BAD_ROW = "bad_row", "what stands beside the image makes no valid record"
    NAMED_OTHERWISE = (
        "named_otherwise",
        "a row whose image was not found may mean this image, which would be without its description",
    )
    FILTERED = "filtered", "a filter of the recipe refused it"
    RECORD_DROPPED = "record_dropped", "the record that it belongs to was dropped"
    RELABELLED = "relabelled", "the source's own mask gave way to those that models found"
    OUT_OF_MEMORY = "out_of_memory", "memory ran out with this image alone"
    NOT_FINITE = "not_finite", "the model answered with numbers that are not finite"
    EMPTY_MASK = "empty_mask", "the segmenter found no pixel in the box"
    DUPLICATE_MASK = "duplicate_mask", "a better mask covers almost the same; its phrases went over to that one"
    CONTAINED_MASK = "contained_mask", "the mask lies within a better one of the same phrase"
    GROUP_BOX = "group_box", "the mask takes in several others of the same phrase"
    WHOLE_IMAGE = "whole_image", "the box covers almost the whole image"
    LOW_DETECTION = "low_detection", "the detector is not sure enough of the box"
    LOW_PREDICTED_IOU = "low_predicted_iou", "the segmenter expects a poor mask"
    LOW_STABILITY = "low_stability", "the mask changes much with the threshold it is cut at"
    LOW_SIMILARITY = "low_similarity", "the crop and its phrase do not look alike to the image-text model"
    LOW_CLEANING_IOU = "low_cleaning_iou", "cleaning took too much of the mask away, or added too much"
    TOO_SMALL = "too_small", "the mask covers too little of the image"
    NAMED_BY_NO_PHRASE = "named_by_no_phrase", "no phrase of the description took it"
    NO_KEY_OBJECT = "no_key_object", "no object that a phrase names, or no mask: there is nothing for a head to look at"
    SPECIAL_TOKEN = "special_token", "the text holds a special token of the model"
    TEXT_TOO_LONG = "text_too_long", "prompt, image and text together are longer than the model's context"
    NO_TOKENS = "no_tokens", "no token of the text stands at any of the positions that are scored"
    TOO_NARROW = "too_narrow", "the image is longer, for its width, than the model takes"

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

    EXIF_ROTATED = "exif_rotated", "the image was re-encoded upright, as its EXIF orientation asks"
    EXIF_REMOVED = "exif_removed", "the image was re-encoded without its EXIF, which is broken and would stop readers"
    MASK_FRAME_ASSUMED_RAW = (
        "mask_frame_assumed_raw",
        "the masks fit the image before and after its EXIF turn; taken as before",
    )
    ANIMATION_FIRST_FRAME = "animation_first_frame", "the image is an animation; its first frame counts"
    REENCODED = (
        "reencoded",
        "the image was re-encoded as PNG, RGB 8 bit, with the pixels that were used; readers would take others from "
        "its file",
    )
    TEXT_REMOVED = (
        "text_removed",
        "texts or a colour profile in the PNG, longer than readers accept, were left out; its pixels are as they came",
    )
    END_ADDED = "end_added", "the JPEG lacked its end marker, and nothing else; it was added"
    SIXTEEN_BIT_SCALED = "sixteen_bit_scaled", "the image has 16-bit pixels, which were scaled to 8 bit"
    RANGE_8_BIT = "range_8_bit", "no 16-bit pixel of the image needs more than 8 bits; they were taken as 8 bit"
    RANGE_10_BIT = "range_10_bit", "no 16-bit pixel of the image needs more than 10 bits; they were scaled from 10 bits"
    RANGE_12_BIT = "range_12_bit", "no 16-bit pixel of the image needs more than 12 bits; they were scaled from 12 bits"
    RANGE_14_BIT = "range_14_bit", "no 16-bit pixel of the image needs more than 14 bits; they were scaled from 14 bits"
    TRANSPARENCY_OVER_WHITE = "transparency_over_white", "the image has transparency; it was laid over white"
    NO_DESCRIPTION = "no_description", "the image has no description"
    PROMPT_SPLIT = "prompt_split", "the phrases were more than the detector takes at once; they were asked for in turns"
    PHRASE_CUT = "phrase_cut", "a phrase is longer than the detector reads; its end was not seen"
    INSTANCE_WITHOUT_MASK = (
        "instance_without_mask",
        "an annotation has no usable mask; the instance counts when phrases are aligned, but is no key object",
    )
    CAPTIONED = "captioned", "a model wrote the description"
    ID_RESPELLED = (
        "id_respelled",
        "an id of the image or of an annotation was written as 7.0, or was missing; it counts as 7, or was numbered",
    )
    SIZE_UNKNOWN = "size_unknown", "the source states no usable size of the image; its masks count as drawn on it"
    SEGMENTATION_RESPELLED = (
        "segmentation_respelled",
        "a mask was written as a list of numbers or of points, or with run lengths as 7.0; read as what it stands for",
    )
    POLYGON_PART_DROPPED = (
        "polygon_part_dropped",
        "a polygon part with fewer than three points, or with numbers that are no coordinates, was left out",
    )
    UNKNOWN_CATEGORY = (
        "unknown_category",
        "an annotation's category is missing, or not in the source's list of categories; its object has none",
    )
    ALL_CROWDS = (
        "all_crowds",
        "the source marks every instance as a crowd, as exports of CVAT do; taken as single things "
        "(--crowds keep takes them as crowds)",
    )
    CAPTION_CUT = "caption_cut", "the captioner had not ended when it had written as much as it may"
    NAME_BACKSLASHES = "name_backslashes", "backslashes in the image's name were read as slashes"
    NAME_ABSOLUTE = "name_absolute", "the image's name is an absolute path inside the folder"
    NAME_PREFIX = "name_prefix", "the image's name begins with that of the folder it is in, which was left out"
    NAME_UNICODE = "name_unicode", "the file's name has accents in the other Unicode form (NFC, NFD)"
    NAME_CASE = "name_case", "the file's name differs in upper and lower case"
    NAME_ENDING = "name_ending", "the image's name lacks the ending of its file"
    NAMES_DIFFER = (
        "names_differ",
        "the two annotation files name different images by one id; the first that is there counts",
    )
    NAME_FROM_NUMBER = "name_from_number", "a number stands where the image's name should; it was taken as its name"
    TEXT_FROM_NUMBER = "text_from_number", "a number stands where the description should; it was taken as words"
    FURTHER_TEXTS = "further_texts", "the image has several texts; the first one is its description"
    MARKUP_REMOVED = "markup_removed", "marks that tie words to boxes were left out of the description"
    OTHER_BYTES = (
        "other_bytes",
        "the image's bytes are not those of source.sha256: an earlier build encoded it again, or it was changed since",
    )
    LINKS_GIVEN = "links_given", "phrases and their links came with the description and stay as they are"
    LINKS_EDITED = (
        "links_edited",
        "links that came with the description do not fit what its objects said of themselves; status, salience and "
        "key flags were computed again from the links",
    )
    LINK_UNUSABLE = (
        "link_unusable",
        "a phrase or a question that came with the description names an annotation that is not there, and stays "
        "without it, or does not fit at all, and was left out; where no phrase of a description fits, they are found "
        "anew",
    )
    DETAILS_UNUSABLE = (
        "details_unusable",
        "what an earlier export said of an image or an object cannot be; COCO's own keys alone were read",
    )
    UNREAD_BESIDE = "unread_beside", "something next to the image could not be read; the rest was"
    MEMBERS_APART = "members_apart", "the members of the key are not next to each other in their archive"
    DOTS_IN_KEY = "dots_in_key", "the image's name has several dots; its key ends at the last one"


# Notices of records whose image does not have the bytes that came.
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
    """What a source has, but does not read."""

    OTHER_FILE = "other_file", "files that are neither images nor descriptions of any"
    NO_ENDING = "no_ending", "files whose name has no ending; rename those that are images"
    UNREAD_FORMAT = "unread_format", "images in a format that is not read; convert them to JPEG or PNG"
    HIDDEN = "hidden", "files and folders whose name begins with a dot"
    DANGLING_LINK = "dangling_link", "links to what is not there"
    LINKED_AGAIN = "linked_again", "linked folders that are read in another place"
    NOT_A_FILE = "not_a_file", "pipes, sockets and devices"
    CLOSED_FOLDER = "closed_folder", "folders that may not be opened"
    ARCHIVE = "archive", "archives, which are not unpacked"
    OTHER_TABLE = "other_table", "files that may hold descriptions or objects"
    SIDECAR = "sidecar", "files named as an image is, of which nothing was read"
    TEXT_COLUMN = "text_column", "columns or members that hold texts, but no description"
    MASK_COLUMN = "mask_column", "columns or members that hold masks"
    BOX_COLUMN = "box_column", "columns that hold boxes or points"
    SPLIT_COLUMN = "split_column", "columns that name splits"
    IMAGE_COLUMN = "image_column", "columns that hold further images"
    OTHER_COLUMN = "other_column", "columns of which nothing is made"
    SAME_NAME = "same_name", "columns of which another one has the same name"
    SECOND_IMAGE = "second_image", "further images of a key"
    OTHER_MEMBER = "other_member", "members of archives that are neither images nor descriptions"
    IGNORED = "ignored", "what --ignore names"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Things of one kind that a source has, but does not read.

    Args:
        kind: of the things.
        count: how many there are.
        examples: names of the first ones, never with the folders above the source.

    """

    kind: PassedOverKind
    count: int
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**asdict(self), "examples": list(self.examples)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            TypeError: it is not of that form.

        """
        count, examples = value["count"], tuple(value["examples"])
        if not isinstance(count, int) or not all(isinstance(name, str) for name in examples):
            raise TypeError(f"what was passed over has a count and examples that are text, not {value!r}")
        return cls(PassedOverKind(value["kind"]), count, examples)


class PassedOverCounts:
    """What a source passes over, counted while it is indexed."""

    _MOST_EXAMPLES = 3
    _LONGEST_EXAMPLE = 120

    def __init__(self) -> None:
        self._counts: Counter[PassedOverKind] = Counter()
        self._examples: dict[PassedOverKind, dict[str, None]] = {}

    def add(self, kind: PassedOverKind, example: str, count: int = 1) -> None:
        """Count one thing, or several that have one name."""
        self._counts[kind] += count
        examples = self._examples.setdefault(kind, {})
        if len(examples) < self._MOST_EXAMPLES:
            examples[example.encode("utf-8", "backslashreplace").decode("utf-8")[: self._LONGEST_EXAMPLE]] = None

    def __iter__(self) -> Iterator[PassedOver]:
        """Yield what was counted, kinds sorted."""
        return (PassedOver(kind, self._counts[kind], tuple(self._examples[kind])) for kind in sorted(self._counts))


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
    """Something worth knowing about a record that was kept; ``detail`` says of which part of it, where that counts."""

    record_id: str
    kind: NoticeKind
    detail: str = ""


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
