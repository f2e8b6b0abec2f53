"""The published row: one explicit, versioned Arrow schema, and the conversion of records to rows and back.

Owns the column names and types. The schema's metadata contain the feature types for readers of the Hub, in a spelling
that ``datasets`` 3.6 and newer versions read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import BuiltFolderError, RecordError
from datasetkit.core.label_map import LabelMap, read_label_map
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    Linker,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Phrase,
    PhraseKind,
    PhraseStatus,
    Provenance,
    Question,
    Record,
    Scores,
)
from datasetkit.core.row_check import check_row

SCHEMA_VERSION = "2.0"
FIRST_VERSION = "1.0"
_VERSION_KEY = b"datasetkit"
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SCORES = pa.struct([(name, pa.float64()) for name in Scores.__dataclass_fields__])
_OBJECT = pa.struct(
    [
        ("id", pa.int32()),
        ("mask", pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])),
        ("bbox", pa.list_(pa.float64())),
        ("area", pa.int64()),
        ("category", pa.string()),
        ("is_key", pa.bool_()),
        ("salience", pa.float64()),
        ("is_crowd", pa.bool_()),
        ("status", pa.string()),
        ("scores", _SCORES),
        ("source_bbox", pa.list_(pa.float64())),
        ("provenance", pa.struct([("box", pa.string()), ("mask", pa.string())])),
        ("source_id", pa.string()),
    ]
)
_PHRASE = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("object_ids", pa.list_(pa.int32())),
        ("candidates", pa.list_(pa.struct([("object_id", pa.int32()), ("score", pa.float64())]))),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("provenance", pa.string()),
        ("kind", pa.string()),
    ]
)
_QUESTION = pa.struct(
    [
        ("question", pa.string()),
        ("answer", pa.string()),
        ("type", pa.string()),
        ("options", pa.list_(pa.string())),
        ("object_ids", pa.list_(pa.int32())),
    ]
)
_COLUMNS = {
    "image": _IMAGE,
    "overlay": _IMAGE,
    "image_id": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "description": pa.string(),
    "objects": pa.list_(_OBJECT),
    "phrases": pa.list_(_PHRASE),
    "questions": pa.list_(_QUESTION),
    "source": pa.struct([("uri", pa.string()), ("license", pa.string()), ("sha256", pa.string())]),
    "absent_categories": pa.list_(pa.string()),
    "partial_categories": pa.list_(pa.string()),
    "language": pa.string(),
    "record_id": pa.string(),
}
_IMAGE_COLUMNS = ("image", "overlay")
# Columns that rows of schema 1.0 lack, nested ones included.
_SINCE_2 = {
    "row": ("absent_categories", "partial_categories", "language"),
    "objects": ("provenance", "source_id"),
    "phrases": ("provenance", "kind"),
}


def row_schema(*, overlay: bool = True, version: str = SCHEMA_VERSION) -> pa.Schema:
    """Return the Arrow schema of a published row, with the metadata that ``datasets`` and this package read.

    Args:
        overlay: whether to include the column of small images with masks drawn on them.
        version: schema version, the current or the first one.

    """
    columns = {name: kind for name, kind in _columns(version).items() if overlay or name != "overlay"}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features_json(overlay=overlay, version=version)}}).encode(),
        _VERSION_KEY: json.dumps({"schema_version": version}).encode(),
    }
    return pa.schema(list(columns.items()), metadata=metadata)


def features_json(*, overlay: bool = True, version: str = SCHEMA_VERSION) -> dict[str, Any]:
    """Return the ``datasets`` feature types of a row in the spelling that every version since 3.6 reads."""
    return {
        name: {"_type": "Image"} if name in _IMAGE_COLUMNS else _feature(kind)
        for name, kind in _columns(version).items()
        if overlay or name != "overlay"
    }


def version_of_columns(schema: pa.Schema) -> str | None:
    """Return the schema version whose columns a table has, by name and type; None for other tables."""
    for version in (SCHEMA_VERSION, FIRST_VERSION):
        expected = row_schema(overlay=False, version=version)
        if all(schema.names.count(one.name) == 1 and schema.field(one.name).type == one.type for one in expected):
            return version
    return None


def _columns(version: str) -> dict[str, pa.DataType]:
    if version.split(".")[0] != FIRST_VERSION.split(".")[0]:
        return _COLUMNS
    return {name: _first(name, kind) for name, kind in _COLUMNS.items() if name not in _SINCE_2["row"]}


def _first(name: str, kind: pa.DataType) -> pa.DataType:
    """Remove the additions of schema 2.0 from the type of a column."""
    later = _SINCE_2.get(name)
    return kind if later is None else pa.list_(pa.struct([part for part in kind.value_type if part.name not in later]))


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return [_feature(kind.value_type)]
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def label_map_metadata(label_map: LabelMap) -> dict[bytes, bytes]:
    """Return the metadata of a file with the columns of published rows, except the image, and a label map."""
    value = {"label_map": [category.to_json() for category in label_map]}
    return {_VERSION_KEY: json.dumps(value).encode()}


def stored_label_map(schema: pa.Schema) -> LabelMap:
    """Read the label map of :func:`label_map_metadata`; empty if there is none."""
    try:
        return read_label_map(json.loads((schema.metadata or {})[_VERSION_KEY])["label_map"])
    except (KeyError, TypeError, ValueError):
        return ()


def stored_schema_version(schema: pa.Schema) -> str | None:
    """Return the schema version that a shard was written with; None if datasetkit did not write it."""
    stored = (schema.metadata or {}).get(_VERSION_KEY)
    try:
        return str(json.loads(stored)["schema_version"]) if stored else None
    except (ValueError, KeyError, TypeError):
        return None


def check_schema_version(schema: pa.Schema, where: str) -> None:
    """Refuse a shard that datasetkit did not write, or one of an unsupported schema version.

    Raises:
        BuiltFolderError: names the version of the shard and the supported ones.

    """
    check_version(stored_schema_version(schema), where)


def check_version(version: str | None, where: object) -> None:
    """Refuse an unsupported schema version; see :func:`check_schema_version`."""
    if version is None or version.split(".")[0] not in {FIRST_VERSION.split(".")[0], SCHEMA_VERSION.split(".")[0]}:
        raise BuiltFolderError(
            f"{where} has schema version {version}; this datasetkit reads {FIRST_VERSION} and {SCHEMA_VERSION}. "
            "Rebuild the dataset, or install a version of datasetkit that reads it"
        )


def record_to_row(record: Record, overlay_jpeg: bytes | None = None) -> dict[str, Any]:
    """Convert a record to a row.

    Args:
        record: the record.
        overlay_jpeg: the small image with masks, as JPEG bytes; None omits the column.

    """
    row: dict[str, Any] = {"image": {"bytes": record.image.data, "path": record.image.name}}
    if overlay_jpeg is not None:
        row["overlay"] = {"bytes": overlay_jpeg, "path": "overlay.jpg"}
    return row | {
        "image_id": record.image_id,
        "width": record.image.width,
        "height": record.image.height,
        "description": record.description,
        "objects": [_object_to_row(item) for item in record.objects],
        "phrases": [
            {
                "text": phrase.text,
                "start": phrase.start,
                "end": phrase.end,
                "object_ids": list(phrase.object_ids),
                "candidates": [{"object_id": one.object_id, "score": one.score} for one in phrase.candidates],
                "score": phrase.score,
                "status": phrase.status.value,
                "reason": phrase.reason,
                "provenance": phrase.provenance and phrase.provenance.value,
                "kind": phrase.kind.value,
            }
            for phrase in record.phrases
        ],
        "questions": [
            asdict(question) | {"options": list(question.options), "object_ids": list(question.object_ids)}
            for question in record.questions
        ],
        "source": asdict(record.source),
        "absent_categories": list(record.absent_categories),
        "partial_categories": list(record.partial_categories),
        "language": record.language,
        "record_id": record.record_id,
    }


def _object_to_row(item: KeyObject) -> dict[str, Any]:
    return {
        "id": item.id,
        "mask": None if item.mask is None else item.mask.to_coco(),
        "bbox": None if item.box_xywh is None else list(item.box_xywh),
        "area": item.area,
        "category": item.category,
        "is_key": item.is_key,
        "salience": item.salience,
        "is_crowd": item.is_crowd,
        "status": item.status.value,
        "scores": {name: getattr(item.scores, name) for name in Scores.__dataclass_fields__},
        "source_bbox": None if item.source_bbox is None else list(item.source_bbox),
        "provenance": {
            "box": item.provenance.box and item.provenance.box.value,
            "mask": item.provenance.mask and item.provenance.mask.value,
        },
        "source_id": item.source_id,
    }


def row_to_record(row: Mapping[str, Any]) -> Record:
    """Convert a row to a record; the reverse of :func:`record_to_row`, without the overlay.

    Args:
        row: row from Parquet, or from ``datasets`` with ``Image(decode=False)``.

    Raises:
        RecordError: the image is already decoded, or a value is invalid in a record; names its column.
        UnusableError: a mask is damaged.

    """
    image = row.get("image")
    if image is not None and not isinstance(image, Mapping):
        raise RecordError(
            f"image is a {type(image).__name__}; give the encoded bytes: "
            'dataset.cast_column("image", datasets.Image(decode=False))'
        )
    check_row(row, *(name for name in _COLUMNS if name != "overlay"), is_whole=True)
    return Record(
        record_id=row["record_id"],
        image_id=row["image_id"],
        image=EncodedImage(row["image"]["bytes"], row["image"]["path"], row["width"], row["height"]),
        description=row.get("description"),
        source=Provenance(*(row["source"][name] for name in Provenance.__dataclass_fields__)),
        objects=tuple(map(_object_from_row, row["objects"])),
        phrases=tuple(map(_phrase_from_row, row["phrases"])),
        questions=tuple(map(_question_from_row, row["questions"])),
        absent_categories=tuple(row.get("absent_categories") or ()),
        partial_categories=tuple(row.get("partial_categories") or ()),
        language=row.get("language"),
    )


def objects_of(row: Mapping[str, Any]) -> tuple[KeyObject, ...]:
    """Read a row's objects.

    Raises:
        RecordError: the values are not a valid object.
        UnusableError: a mask is damaged.

    """
    check_row(row, "objects", is_whole=True)
    return tuple(map(_object_from_row, row["objects"]))


def questions_of(row: Mapping[str, Any]) -> tuple[Question, ...]:
    """Read a row's questions.

    Raises:
        RecordError: the values are not a valid question.

    """
    check_row(row, "questions", is_whole=True)
    return tuple(map(_question_from_row, row["questions"]))


def _object_from_row(value: Mapping[str, Any]) -> KeyObject:
    mask, box, source_box = (value.get(name) for name in ("mask", "bbox", "source_bbox"))
    provenance = value.get("provenance") or {}
    return KeyObject(
        id=value["id"],
        mask=None if mask is None else Mask(tuple(mask["size"]), mask["counts"]),
        category=value.get("category"),
        is_key=value["is_key"],
        salience=value.get("salience"),
        is_crowd=value["is_crowd"],
        status=ObjectStatus(value["status"]),
        scores=Scores(**{name: value["scores"].get(name) for name in Scores.__dataclass_fields__}),
        source_bbox=None if source_box is None else tuple(source_box),
        box=None if box is None or mask is not None else tuple(box),
        provenance=ObjectProvenance(*(provenance.get(name) and Maker(provenance[name]) for name in ("box", "mask"))),
        source_id=value.get("source_id"),
    )


def _phrase_from_row(value: Mapping[str, Any]) -> Phrase:
    return Phrase(
        text=value["text"],
        start=value["start"],
        end=value["end"],
        object_ids=tuple(value["object_ids"]),
        candidates=tuple(Candidate(one["object_id"], one.get("score")) for one in value["candidates"]),
        score=value.get("score"),
        status=PhraseStatus(value["status"]),
        reason=value.get("reason"),
        provenance=value.get("provenance") and Linker(value["provenance"]),
        kind=PhraseKind(value.get("kind") or ("pronoun" if value.get("reason") == "pronoun" else "noun")),
    )


def _question_from_row(value: Mapping[str, Any]) -> Question:
    return Question(
        value["question"], value["answer"], value["type"], tuple(value["options"]), tuple(value["object_ids"])
    )
