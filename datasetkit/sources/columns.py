"""Which columns of a table hold what. Owns how a picture, its text and its license are found by type and name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import SourceError
from datasetkit.core.schema import SCHEMA_VERSION, row_schema, version_of_columns
from datasetkit.options.sources import TableOptions
from datasetkit.sources.files import CAPTION_COLUMNS

UNKNOWN_LICENSE = "unknown"
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")
PICTURE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read: encoded pictures, as bytes or as {bytes, path}, and what there is beside them.

    Where the rows are whole records of a built dataset, in ``version`` of the schema, the rest counts for nothing.
    """

    image: str
    text: str | None = None
    id: str | None = None
    license: str | None = None
    is_record: bool = False
    version: str = SCHEMA_VERSION

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is read."""
        if self.is_record:
            return tuple(row_schema(overlay=False, version=self.version).names)
        return tuple(name for name in (self.image, self.text, self.id, self.license) if name is not None)


def find_columns(schema: pa.Schema, where: str, options: TableOptions) -> Columns:
    """Find the columns of a table; those that are named are taken as they are.

    Args:
        schema: the table's, with the Hub's feature types in its metadata where there are any.
        where: what the table is called in messages.
        options: which columns are named.

    Raises:
        SourceError: a named column is missing or of the wrong type, or none, or no one, can be the pictures'.

    """
    image, text, row_id = options.image_column, options.text_column, options.id_column
    if image is text is row_id is None and (version := version_of_columns(schema)) is not None:
        return Columns("image", is_record=True, version=version)
    for name, kind_of, kind in ((image, _is_picture, "pictures"), (text, _is_text, "text"), (row_id, _is_id, "ids")):
        if name is not None and (name not in schema.names or not kind_of(schema.field(name).type)):
            of_type = f"; {name!r} has type {schema.field(name).type}" if name in schema.names else ""
            raise SourceError(f"{where} has no column {name!r} of {kind}; it has {', '.join(schema.names)}{of_type}")
    texts = (name for name in CAPTION_COLUMNS if _has(schema, name) and _is_text(schema.field(name).type))
    return Columns(
        image=image or _find_image(schema, where),
        text=text or next(texts, None),
        id=row_id,
        license="license" if _has(schema, "license") and _is_string(schema.field("license").type) else None,
    )


def check_texts(tables: Sequence[tuple[pa.Schema, Columns]], where: str, option: str) -> None:
    """Refuse tables that hold texts, but none under a name by which descriptions are found.

    Args:
        tables: schemas, with the columns that were found in them.
        where: what the tables are called in messages.
        option: which option names the column of descriptions.

    Raises:
        SourceError: no table has a column of descriptions, and one has other columns of text.

    """
    if any(columns.text or columns.is_record for _, columns in tables):
        return
    others = {
        field.name: None
        for schema, columns in tables
        for field in schema
        if _is_text(field.type) and field.name not in columns.names
    }
    if others:
        raise SourceError(no_texts(where, others, option))


def no_texts(where: str, others: Iterable[str], option: str) -> str:
    """Say that no column of descriptions was found, and what to do."""
    return (
        f"{where} has no column {', '.join(CAPTION_COLUMNS[:-1])} or {CAPTION_COLUMNS[-1]}; it has "
        f"{', '.join(others)}; --{option} says which of them holds the descriptions"
    )


def _has(schema: pa.Schema, name: str) -> bool:
    return schema.names.count(name) == 1


def _find_image(schema: pa.Schema, where: str) -> str:
    features = _features(schema)
    possible = [name for name in schema.names if _is_picture(schema.field(name).type)]
    declared = [name for name in possible if features.get(name) == "Image"]
    undeclared = [name for name in possible if features.get(name, "Value") == "Value"]
    structs = [name for name in undeclared if pa.types.is_struct(schema.field(name).type)]
    for names in (declared, structs, undeclared):
        if len(names) == 1:
            return names[0]
        if names:
            known = next((name for name in PICTURE_NAMES if name in names), None)
            if known is None:
                raise SourceError(f"{where}: any of {', '.join(names)} may hold the pictures; name one as image column")
            return known
    raise SourceError(
        f"{where} has no column of encoded pictures; it has {', '.join(schema.names)}. Where rows name files, use "
        "`build folder` with the rows as metadata.parquet beside the pictures, their names in file_name"
    )


def _features(schema: pa.Schema) -> dict[str, str]:
    """Give the Hub's name of each column's feature type, as far as the schema says."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: str(kind["_type"]) for name, kind in features.items() if isinstance(kind, dict) and "_type" in kind
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return _is_string(kind.value_type) if is_list else _is_string(kind)


def _is_id(kind: pa.DataType) -> bool:
    return _is_string(kind) or pa.types.is_integer(kind)


def license_identifier(license_entry: Mapping[str, Any]) -> str:
    """Give the Hub's identifier of a license ({"name", "url"}), its name where the Hub has none, or "unknown"."""
    match = _CREATIVE_COMMONS.search(str(license_entry.get("url") or ""))
    if match and match[2] == "zero":
        return f"cc0-{match[3]}"
    if match and match[1] == "licenses":
        return f"cc-{match[2]}-{match[3]}"
    return str(license_entry.get("name") or license_entry.get("url") or UNKNOWN_LICENSE)
