"""What accompanies an image in a WebDataset shard. Owns how ``KEY.txt`` and ``KEY.json`` are read.

``KEY.json`` of shards that ``datasetkit export`` wrote holds a whole record, its nested columns as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place, read_part
from datasetkit.core.schema import row_schema
from datasetkit.sources.files import as_text, unreadable
from datasetkit.sources.tar_index import Member
from datasetkit.sources.tar_samples import Sample
from datasetkit.sources.texts import decoded

_LARGEST_TEXT_BYTES = 2**24
_NESTED = ("objects", "phrases", "questions")
_SINCE_2 = ("absent_categories", "partial_categories")
_PROVENANCE = ("uri", "license", "sha256")
_RECORD_KEYS = {"record_id", "image_id", "file_name", "width", "height", "has_description", *_NESTED, *_PROVENANCE}
_SCHEMA = pa.schema([field for field in row_schema(overlay=False) if field.name != "image"])


def bytes_of(path: Place, member: Member) -> bytes:
    """Read a member; its size must be checked before.

    Raises:
        UnusableError: ``unreadable`` or ``truncated``.

    """
    try:
        data = read_part(path, member.offset, member.size)
    except OSError as error:
        raise unreadable(error, f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) < member.size:
        raise UnusableError(DropReason.TRUNCATED, f"{as_text(member.name)} is cut short by the end of the tar")
    return data


def text_of(path: Place, sample: Sample, encoding: str | None = None) -> str | None:
    """Read the text of a sample; None if there is none.

    Raises:
        UnusableError: it is too long, or in another encoding.

    """
    return _text(path, sample.text, encoding) if sample.text is not None else None


def values_of(path: Place, sample: Sample, encoding: str | None = None) -> Mapping[str, Any]:
    """Read ``KEY.json``, a list of texts as captions; empty if there is none.

    Raises:
        UnusableError: it is too long, or not a JSON object.

    """
    if sample.json is None:
        return {}
    try:
        values = json.loads(_text(path, sample.json, encoding))
    except (RecursionError, ValueError) as error:
        if isinstance(error, UnusableError):
            raise
        raise UnusableError(DropReason.BAD_ROW, f"{sample.key}.json is not JSON: {error}") from None
    if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
        return {"captions": values}
    if not isinstance(values, dict):
        raise UnusableError(DropReason.BAD_ROW, f"{sample.key}.json holds a {type(values).__name__}; give an object")
    return values


def is_record(values: Mapping[str, Any]) -> bool:
    """Return whether ``KEY.json`` is that of an exported record."""
    return values.keys() >= _RECORD_KEYS


def record_row(path: Place, sample: Sample) -> dict[str, Any]:
    """Read the row of an exported record; its image has no bytes yet.

    Raises:
        UnusableError: it is not such a record.

    """
    values = values_of(path, sample)
    try:
        row = {name: values[name] for name in ("record_id", "image_id", "width", "height")}
        row |= {name: json.loads(values[name]) for name in (*_NESTED, *_SINCE_2) if name in values}
        row["language"] = values.get("language") or None
        row["description"] = text_of(path, sample) if values["has_description"] else None
        row["source"] = {name: values[name] for name in _PROVENANCE}
        typed: dict[str, Any] = pa.RecordBatch.from_pylist([row], schema=_SCHEMA).to_pylist()[0]
    except UnusableError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, pa.ArrowException) as error:
        raise UnusableError(DropReason.BAD_ROW, f"{sample.key}.json is not a valid record: {error}") from None
    return typed | {"image": {"bytes": None, "path": values["file_name"]}}


def _text(path: Place, member: Member, encoding: str | None) -> str:
    name = as_text(member.name)
    if member.size > _LARGEST_TEXT_BYTES:
        raise UnusableError(
            DropReason.BAD_ROW,
            f"{name} has {member.size:,} bytes; a text may have at most {_LARGEST_TEXT_BYTES:,}",
        )
    return decoded(bytes_of(path, member), name, encoding)
