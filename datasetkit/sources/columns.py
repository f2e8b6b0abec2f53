"""Which column of a table holds what. Owns how the columns of image, text, split and license are found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import PassedOverKind
from datasetkit.core.schema import SCHEMA_VERSION, row_schema, version_of_columns
from datasetkit.options.sources import TableOptions
from datasetkit.sources.files import CAPTION_COLUMNS
from datasetkit.sources.unused import SPLIT_COLUMN, TEXT, Unused, leaves_of_type

UNKNOWN_LICENSE = "unknown"
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")
TEXT_HINT = "--text-column says which of them holds the descriptions"
IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "images")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read: encoded images, as bytes or as {bytes, path}, and the columns that belong to them.

    ``text`` may be the dotted path of a text inside a column. If the rows are whole records of a built dataset, in
    ``version`` of the schema, the other fields are not used.
    """

    image: str
    text: str | None = None
    split: str | None = None
    id: str | None = None
    license: str | None = None
    is_record: bool = False
    text_is_column: bool = True
    version: str = SCHEMA_VERSION

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are read."""
        if self.is_record:
            return tuple(row_schema(overlay=False, version=self.version).names)
        found = (self.image, self.text_path[0] if self.text else None, self.id, self.license, self.split)
        return tuple(dict.fromkeys(name for name in found if name is not None))

    @property
    def text_path(self) -> tuple[str, ...]:
        """The column of the text, and the path inside it."""
        return (self.text or "",) if self.text_is_column else tuple((self.text or "").split("."))


def find_columns(schema: pa.Schema, where: str, options: TableOptions) -> Columns:
    """Find the columns of a table; columns that the options name are used as they are.

    Args:
        schema: of the table, with the Hub's feature types in its metadata if there are any.
        where: name of the table in messages.
        options: names of columns.

    Raises:
        SourceError: a named column is missing or has the wrong type, or no column, or more than one, can hold the
            images.

    """
    image, text, row_id = options.image_column, options.text_column, options.id_column
    if image is text is row_id is None and (version := version_of_columns(schema)) is not None:
        return Columns("image", is_record=True, version=version)
    wanted = (*(name for name in (image, text, row_id) if name is not None), *CAPTION_COLUMNS, *IMAGE_NAMES)
    if twice := [name for name in wanted if schema.names.count(name) > 1]:
        raise SourceError(f"{where} has two columns named {twice[0]}; rename one")
    top = None if text is None else text if text in schema.names else text.partition(".")[0]
    nested = [] if top not in schema.names else list(leaves_of_type(schema.field(top).type, str(top)))
    is_text = text is None or (text, TEXT) in nested
    for name, column, fits, kind in (
        (image, image, lambda kind: is_image_column(only_item(kind)), "images"),
        (text, top, lambda _: is_text, "text"),
        (row_id, row_id, _is_id, "ids"),
    ):
        if name is not None and (column not in schema.names or not fits(schema.field(column).type)):
            of_type = f"; {column!r} has type {schema.field(column).type}" if column in schema.names else ""
            raise SourceError(f"{where} has no column {name!r} of {kind}; it has {', '.join(schema.names)}{of_type}")
    names = (name for name in CAPTION_COLUMNS if name not in options.ignore)
    texts = (name for name in names if _has(schema, name) and _is_text(schema.field(name).type))
    return Columns(
        image=image or _find_image(schema, where),
        text=text or next(texts, None),
        split=_string_column(schema, SPLIT_COLUMN, options),
        id=row_id,
        license=_string_column(schema, "license", options),
        text_is_column=text is None or text == top,
    )


def count_unused(unused: Unused, schema: pa.Schema, columns: Columns) -> None:
    """Count the columns that are not read, except those of a built dataset, which belong to its records."""
    if version_of_columns(schema) is not None:
        return
    for field in schema:
        if schema.names.count(field.name) > 1:
            unused.counts.add(PassedOverKind.SAME_NAME, field.name)
        elif field.name not in columns.names:
            unused.column(field.name, list(leaves_of_type(field.type, field.name)))


def only_item(kind: pa.DataType) -> pa.DataType:
    """Return the type of a list's items; any other type as it is."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return kind.value_type if is_list else kind


def _string_column(schema: pa.Schema, name: str, options: TableOptions) -> str | None:
    is_there = _has(schema, name) and name not in options.ignore
    return name if is_there and _is_string(schema.field(name).type) else None


def _has(schema: pa.Schema, name: str) -> bool:
    return schema.names.count(name) == 1


def _find_image(schema: pa.Schema, where: str) -> str:
    features = _features(schema)
    single = [name for name in schema.names if _has(schema, name) and is_image_column(schema.field(name).type)]
    several = [
        name for name in schema.names if _has(schema, name) and is_image_column(only_item(schema.field(name).type))
    ]
    possible = single or several
    declared = [name for name in possible if features.get(name) == "Image"]
    undeclared = [name for name in possible if features.get(name, "Value") == "Value"]
    structs = [name for name in undeclared if pa.types.is_struct(only_item(schema.field(name).type))]
    for names in (declared, structs, undeclared):
        if len(names) == 1:
            return names[0]
        if names:
            known = next((name for name in IMAGE_NAMES if name in names), None)
            if known is None:
                raise SourceError(
                    f"{where}: any of {', '.join(names)} may hold the images; choose one with --image-column"
                )
            return known
    raise SourceError(
        f"{where} has no column of encoded images; it has {', '.join(schema.names)}. If its rows name image files, use "
        "`build folder` with the table as metadata.parquet next to the images and their names in file_name"
    )


def _features(schema: pa.Schema) -> dict[str, str]:
    """Return the Hub's feature type of each column, as far as the schema names it."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        inner = {
            name: kind.get("feature", kind) if isinstance(kind, dict) else (kind or [None])[0]
            for name, kind in features.items()
        }
        return {name: str(kind["_type"]) for name, kind in inner.items() if isinstance(kind, dict) and "_type" in kind}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def is_image_column(kind: pa.DataType) -> bool:
    """Return whether a column of a type may hold encoded images."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text(kind: pa.DataType) -> bool:
    return _is_string(only_item(kind))


def _is_id(kind: pa.DataType) -> bool:
    return _is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def license_identifier(license_entry: Mapping[str, Any]) -> str:
    """Return the Hub's identifier of a license ({"name", "url"}), its name if the Hub has none, or "unknown"."""
    match = _CREATIVE_COMMONS.search(str(license_entry.get("url") or ""))
    if match and match[2] == "zero":
        return f"cc0-{match[3]}"
    if match and match[1] == "licenses":
        return f"cc-{match[2]}-{match[3]}"
    return str(license_entry.get("name") or license_entry.get("url") or UNKNOWN_LICENSE)
