"""Invalid cells: everything that reads rows names the row, or does not need the cell."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import datasetkit as dk
from datasetkit.cli import app
from datasetkit.core.errors import BuiltFolderError, UnusableError
from datasetkit.core.files import file_sha256
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits
from datasetkit.core.record import Candidate, KeyObject, ObjectStatus, Record
from datasetkit.core.schema import record_to_row, row_schema
from datasetkit.export.card.samples import sample_rows
from datasetkit.export.dataset.manifest import Manifest, Shard
from datasetkit.export.formats import FORMATS
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.export.verification.rows import row_faults
from datasetkit.hi_scoring.data.datasets import open_data
from datasetkit.hi_scoring.data.reading import read_sample
from tests.export.folders import Row, bare_record, overlay_of, record, write_folder

SHARD = "data/train-00000-of-00001.parquet"
BROKEN = b"\x89PNG\r\n\x1a\nbroken"
NULLABLE = re.compile(
    r"overlay\.path|language|(absent|partial)_categories"
    r"|objects\[0\]\.(bbox|area|category|salience|source_bbox|provenance(\.\w+)?|source_id|scores\.\w+)"
    r"|phrases\[0\]\.(score|reason|provenance|kind)|phrases\[1\]\.candidates\[0\]\.score"
)
# What a cell of a type may hold that is allowed nowhere, or not in the column named.
WRONG: dict[str, list[Any]] = {
    "objects[0].id": [-1, 2**31 - 1],
    "objects[0].mask.size": [[], [24], [24, 31], [-24, 32], [2**31 - 1, 2**31 - 1]],
    "objects[0].mask.counts": ["", "~", "0", "P" * 40, "\u00e9"],
    "objects[0].bbox": [[], [1.0, 1.0, float("nan"), 8.0], [1.0], [float("inf")] * 4],
    "objects[0].area": [-1, 0],
    "objects[0].category": [""],
    "objects[0].salience": [float("nan"), float("inf"), -0.5, 2.0],
    "objects[0].status": ["odd", "unmentioned"],
    "objects[0].scores.detection": [float("nan"), 1.5],
    "objects[0].source_bbox": [[float("inf")] * 4, [1.0]],
    "objects[0].provenance.box": ["odd"],
    "phrases[0].text": ["", "Two dogs"],
    "phrases[0].start": [-1, 2, 2**31 - 1],
    "phrases[0].end": [-8, 0, 2**31 - 1],
    "phrases[0].object_ids": [[], [7], [0, 0], [-1]],
    "phrases[1].candidates[0].object_id": [-1, 77],
    "phrases[1].candidates[0].score": [float("nan"), 7.0],
    "phrases[0].score": [float("nan"), -1.0],
    "phrases[0].status": ["odd", "absent"],
    "phrases[0].provenance": ["odd"],
    "phrases[0].kind": ["odd"],
    "questions[0].question": [""],
    "questions[0].answer": ["", "perhaps"],
    "questions[0].object_ids": [[77]],
    "source.license": [""],
    "source.sha256": ["", "0x" + "0" * 62, "G" * 64],
    "width": [0, -32, 31, 2**31 - 1],
    "height": [0, -24, 2**31 - 1],
    "record_id": [""],
    "image_id": [""],
    "description": ["", "Three"],
    "image.bytes": [b"", BROKEN],
    "image.path": ["", "a/b.png"],
    "overlay.bytes": [b"", BROKEN],
}


def cells(value: Any, path: str) -> Iterator[str]:
    """Every part of a value by its path; of lists the first item."""
    yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from cells(part, f"{path}.{name}")
    elif isinstance(value, list) and value:
        yield from cells(value[0], f"{path}[0]")


def sound_rows() -> list[Row]:
    """A row without objects, phrases and questions, and one with everything."""
    return [record_to_row(item, overlay_of(item)) for item in (bare_record(2), record(1))]


NULLS = [path for name, value in sound_rows()[1].items() for path in cells(value, name)]
DAMAGES = [(path, None) for path in (*NULLS, "phrases[1].candidates[0].object_id", "phrases[1].candidates[0].score")]
DAMAGES += [(path, value) for path, values in WRONG.items() for value in values]


def with_cell(row: Row, path: str, value: Any) -> Row:
    changed: Any = copy.deepcopy(row)
    *outer, last = (int(step) if step.isdecimal() else step for step in re.findall(r"\w+", path))
    place = changed
    for step in outer:
        place = place[step]
    place[last] = value
    return changed  # type: ignore[no-any-return]


def write_rows(folder: Path, rows: list[Row]) -> Manifest:
    """Write an arbitrary shard, and a matching manifest."""
    path = folder / SHARD
    pq.write_table(pa.Table.from_pylist(rows, row_schema(overlay="overlay" in rows[0])), path)
    return fit(folder, len(rows))


def fit(folder: Path, rows: int) -> Manifest:
    path, manifest = folder / SHARD, Manifest.read(folder)
    shard = Shard(SHARD, "train", rows, path.stat().st_size, file_sha256(path))
    manifest = replace(manifest, parts=(replace(manifest.parts[0], shards=(shard,)),))
    manifest.write(folder)
    return manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "out"
    write_folder(folder, {"train": [sound_rows()]})
    return folder


def commands(folder: Path, manifest: Manifest, destination: Path) -> dict[str, Callable[[], object]]:
    """Return the readers of rows; stats and card without their drawing."""
    return {
        "stats": lambda: compute_statistics(folder, manifest),
        "samples": lambda: list(sample_rows(folder, manifest)),
        "preview": lambda: dk.open(folder).preview(destination / "page.html"),
        "export": lambda: dk.open(folder).export("coco", destination / "coco"),
    }


def refusals(commands: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    found = {}
    for name, command in commands.items():
        try:
            command()
        except BuiltFolderError as error:
            found[name] = str(error)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("path", "value"), DAMAGES, ids=lambda value: str(value)[:40])
def test_a_cell_is_used_or_its_row_is_named(built: Path, tmp_path: Path, path: str, value: Any) -> None:
    rows = [sound_rows()[0], with_cell(sound_rows()[1], path, value)]
    found = refusals(commands(built, write_rows(built, rows), tmp_path))
    written = {place.name for place in tmp_path.iterdir()}
    assert written == {name for command, name in (("preview", "page.html"), ("export", "coco")) if command not in found}
    assert all(f"{SHARD} row 1: " in reported and "\n" not in reported for reported in found.values())
    assert not found or row_faults(rows[1], ImageLimits(), (), are_pixels_used=True), "verify says nothing of the row"
    if value is None and NULLABLE.fullmatch(path):
        assert not found
    elif value is None:
        assert re.split(r"s?\[", path)[0] in "".join(found.values())
    data = open_data(rows)
    for row in range(len(data)):
        with suppress(UnusableError):
            read_sample(data, row)
    assert data.categories() <= {"cat", "person", ""}
    assert data.has_found_objects in {True, False}


def poorest() -> Record:
    """Everything null that may be."""
    whole = record(1)
    instance = KeyObject(2, None)
    boxed = KeyObject(1, None, "cat", status=ObjectStatus.CANDIDATE, box=(0.5, 1.0, 3.0, 4.0))
    phrase = replace(whole.phrases[1], candidates=(Candidate(1, None), Candidate(2, None)), score=None, reason=None)
    return replace(whole, objects=(boxed, instance), phrases=(phrase,), questions=())


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_nulls_that_are_legal_are_read_by_everything(tmp_path: Path, version: str) -> None:
    rows = [record_to_row(one) for one in ([poorest(), bare_record(2)] if version == "2.0" else [record(1)])]
    write_folder(tmp_path / "out", {"train": [rows]})
    if version == "1.0":
        pq.write_table(pa.Table.from_pylist(rows, row_schema(overlay=False, version=version)), tmp_path / "out" / SHARD)
        fit(tmp_path / "out", 1)
    built = dk.open(tmp_path / "out")
    assert len(built.stats().statistics.splits) == 1
    assert built.preview(tmp_path / "page.html").shown == len(rows)
    assert "<img" in built._repr_html_()
    for name in FORMATS.names:
        assert built.export(name, tmp_path / name).records == len(rows), name
    data = open_data(tmp_path / "out")
    if version == "2.0":
        with pytest.raises(UnusableError) as caught:
            read_sample(data, 0)
        assert caught.value.reason is DropReason.NO_KEY_OBJECT
    else:
        assert len(read_sample(data, 0).objects) == 2


OTHER_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "other columns": (lambda path: pq.write_table(pa.table({"a": [1]}), path), "has schema version None"),
    "other types": (
        lambda path: pq.write_table(pa.table({"width": ["1"]}).replace_schema_metadata(row_schema().metadata), path),
        "has other columns than schema version 2.0",
    ),
    "other nesting": (
        lambda path: pq.write_table(
            pa.Table.from_pylist(sound_rows(), row_schema()), path, use_compliant_nested_type=False
        ),
        "has no column",
    ),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as Parquet"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as Parquet"),
    "damaged inside": (lambda path: path.write_bytes(b"PAR1" + bytes(4000) + path.read_bytes()[4004:]), ""),
}


@pytest.mark.parametrize(("damage", "reported"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_under_the_name_of_a_shard(tmp_path: Path, damage: Callable[[Path], object], reported: str) -> None:
    write_folder(tmp_path / "out", {"train": [sound_rows()]})
    damage(tmp_path / "out" / SHARD)
    manifest = fit(tmp_path / "out", 2)
    found = refusals(commands(tmp_path / "out", manifest, tmp_path / "to"))
    assert found
    assert all(reported in text and SHARD.rpartition("/")[2] in text for text in found.values())
    assert not (tmp_path / "to" / "coco").exists()
    assert not dk.open(tmp_path / "out").verify().is_sound


def test_a_shard_without_rows(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"train": [sound_rows()]})
    pq.write_table(row_schema().empty_table(), tmp_path / "out" / SHARD)
    manifest = fit(tmp_path / "out", 0)
    assert refusals(commands(tmp_path / "out", manifest, tmp_path / "to")) == {}


def test_the_command_line_names_the_row_in_one_line(built: Path, tmp_path: Path) -> None:
    write_rows(built, [sound_rows()[0], with_cell(sound_rows()[1], "objects[0].status", None)])
    for arguments in (["stats"], ["preview", "--out", str(tmp_path / "page.html")]):
        result = CliRunner().invoke(app, [arguments[0], str(built), *arguments[1:]])
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert f"{SHARD} row 1: objects[0].status is null" in line
