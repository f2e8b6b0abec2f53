"""The published row: records come back as they were, nulls stay null, and datasets reads the feature types."""

from __future__ import annotations

from dataclasses import replace

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings

from datasetkit.core.errors import BuiltFolderError, RecordError
from datasetkit.core.record import ObjectProvenance, Record
from datasetkit.core.schema import (
    FIRST_VERSION,
    SCHEMA_VERSION,
    check_schema_version,
    features_json,
    record_to_row,
    row_schema,
    row_to_record,
)
from tests.core.strategies import records


@settings(deadline=None)
@given(records())
@pytest.mark.slow
def test_a_record_goes_through_row_and_arrow_and_comes_back(record: Record) -> None:
    row = record_to_row(record, b"overlay")
    table = pa.Table.from_pylist([row], schema=row_schema())
    table.validate(full=True)
    (back,) = table.to_pylist()
    assert back == row
    assert row_to_record(back) == record
    assert record_to_row(row_to_record(back), b"overlay") == row


@given(records())
def test_a_row_without_overlay_is_that_of_the_smaller_schema(record: Record) -> None:
    row = record_to_row(record)
    assert list(row) == row_schema(overlay=False).names
    assert list(record_to_row(record, b"x")) == row_schema().names
    assert pa.Table.from_pylist([row], schema=row_schema(overlay=False)).to_pylist() == [row]


@given(records())
def test_what_was_not_measured_is_null(record: Record) -> None:
    (row,) = pa.Table.from_pylist([record_to_row(record)], schema=row_schema(overlay=False)).to_pylist()
    assert (row["description"] is None) == (record.description is None)
    for item, value in zip(record.objects, row["objects"], strict=True):
        for name in ("category", "salience", "source_bbox"):
            assert (value[name] is None) == (getattr(item, name) is None)
        for name, score in value["scores"].items():
            assert (score is None) == (getattr(item.scores, name) is None)
    for phrase, value in zip(record.phrases, row["phrases"], strict=True):
        assert (value["score"] is None) == (phrase.score is None)
        assert (value["reason"] is None) == (phrase.reason is None)
        assert value["object_ids"] == list(phrase.object_ids), "an empty list is no null"


@pytest.mark.parametrize("overlay", [False, True])
def test_the_feature_types_are_those_of_the_schema(overlay: bool) -> None:
    features = datasets.Features.from_dict(features_json(overlay=overlay))
    schema = row_schema(overlay=overlay)
    assert list(features) == schema.names
    for field, expected in zip(features.arrow_schema, schema, strict=True):
        assert field.type == expected.type, field.name
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    assert images == ["image", "overlay"][: 1 + overlay]
    assert datasets.Features.from_arrow_schema(schema) == features, "the metadata of a shard says the same"


def test_the_columns_are_the_published_ones() -> None:
    first = "image overlay image_id width height description objects phrases questions source record_id"
    assert row_schema(version=FIRST_VERSION).names == first.split()
    columns = first.replace("record_id", "absent_categories partial_categories language record_id")
    assert row_schema().names == columns.split()


@given(records())
def test_a_row_of_schema_1_is_read(record: Record) -> None:
    record = replace(
        record,
        objects=tuple(item for item in record.objects if item.mask is not None),
        phrases=(),
        questions=(),
        absent_categories=(),
        partial_categories=(),
        language=None,
    )
    older = row_schema(overlay=False, version=FIRST_VERSION)
    (row,) = pa.Table.from_pylist([record_to_row(record)], schema=older).to_pylist()
    assert "language" not in row
    objects = tuple(replace(item, provenance=ObjectProvenance(), source_id=None) for item in record.objects)
    assert row_to_record(row) == replace(record, objects=objects)


def test_a_decoded_image_is_refused_with_the_way_out() -> None:
    row = {"image": object()}
    with pytest.raises(RecordError, match=r"datasets\.Image\(decode=False\)"):
        row_to_record(row)
    with pytest.raises(RecordError, match=r"image\.bytes is null"):
        row_to_record({"image": {"bytes": None, "path": "a.png"}})


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {b"datasetkit": b"{}"}, {b"datasetkit": b"broken"}, {b"datasetkit": b"[]"}, {b"datasetkit": b"null"}],
)
def test_a_foreign_shard_is_refused(metadata: dict | None) -> None:
    with pytest.raises(BuiltFolderError, match=r"x\.parquet has schema version None"):
        check_schema_version(pa.schema([("a", pa.int32())], metadata=metadata), "x.parquet")


@pytest.mark.parametrize(
    ("version", "is_read"), [(SCHEMA_VERSION, True), ("1.9", True), ("2.3", True), ("3.0", False), ("10.0", False)]
)
def test_only_another_major_version_is_refused(version: str, is_read: bool) -> None:
    schema = pa.schema([], metadata={b"datasetkit": f'{{"schema_version": "{version}"}}'.encode()})
    if is_read:
        check_schema_version(schema, "x.parquet")
    else:
        with pytest.raises(BuiltFolderError, match=f"schema version {version}; this datasetkit reads 1.0 and 2.0"):
            check_schema_version(schema, "x.parquet")
