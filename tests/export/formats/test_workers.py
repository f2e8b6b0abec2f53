"""Exports by workers: the same bytes from any number of them, after deaths, and with images in several shards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.api.built import open_built
from datasetkit.cli import app
from datasetkit.core.errors import BuiltFolderError, EngineError, RecipeError
from datasetkit.core.record import Record
from datasetkit.export.formats import FORMATS, webdataset
from datasetkit.export.formats import built as built_module
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.options.engines import WorkerOptions
from tests import deadly
from tests.export.folders import bare_record, record, rows_of, write_folder
from tests.pipeline.builders import contents

pytestmark = pytest.mark.slow

EVERY_FORMAT = pytest.mark.parametrize("name", FORMATS.names)
NAMES = [
    "a.png",
    "A.PNG",  # the same on some systems
    "noending",
    "page.exe",
    "x.jfif",
    "00000002-noending.png",  # the name that another image would get
    "CON.png",
    "b/c.png",
    "b",
]
CUTS = (0, 3, 4, 9, 11, 12, 13, 14, 17)


def named(number: int, name: str, license_name: str = "cc-by-4.0") -> Record:
    one = record(number, license_name=license_name)
    return replace(one, image=replace(one.image, name=name))


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names that collide, licenses, and an image with five records in four shards."""
    many = [replace(named(20, "same.png"), record_id=f"same {number}") for number in range(5)]
    others = [named(21, "z.png", "cc0-1.0"), named(22, "z.png")]
    items = [*(named(number, name) for number, name in enumerate(NAMES)), bare_record(10), *many, *others]
    train = [rows_of(items[start:end], overlay=False) for start, end in itertools.pairwise(CUTS)]
    test = [rows_of([replace(many[0], record_id="test"), named(23, "a.png")], overlay=False)]
    folder = tmp_path_factory.mktemp("workers") / "in"
    write_folder(folder, {"train": train, "test": test}, described=False)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of at least two records, and tar files of a few samples."""
    monkeypatch.setattr(built_module, "_SPAN_RECORDS", 2)
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 40_000)


@EVERY_FORMAT
def test_bytes_do_not_depend_on_workers_or_spans(
    crossing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    built = open_built(crossing)
    monkeypatch.setattr(built_module, "_SPAN_RECORDS", 250)
    expected = built.export(name, tmp_path / "one")
    monkeypatch.setattr(built_module, "_SPAN_RECORDS", 2)
    for workers in (1, 2, 4):
        result = built.export(name, tmp_path / str(workers), engine="processes", workers=workers)
        assert replace(result, destination=None) == replace(expected, destination=None)
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "one")
    if name == "webdataset":
        assert len(list((tmp_path / "one").glob("train-*.tar"))) > 1


@EVERY_FORMAT
def test_worker_killed_on_a_span_changes_no_byte(
    crossing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lives = deadly.deaths(monkeypatch, tmp_path / "lives", "train-00003-of", 2)
    open_built(crossing).export(name, tmp_path / "out", engine=deadly.ENGINE, workers=2)
    assert lives.read_bytes() == b""
    open_built(crossing).export(name, tmp_path / "one", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_span_that_always_kills_is_an_error(crossing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly.deaths(monkeypatch, tmp_path / "lives", "train-00001-of", 9)
    with pytest.raises(
        EngineError, match=r"train-00001-of-00008\.parquet rows 0 to 0.*3 workers died on it \(the last"
    ):
        open_built(crossing).export("coco", tmp_path / "out", engine=deadly.ENGINE, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["lives"]


def test_bad_row_in_a_worker_is_the_same_error(tmp_path: Path) -> None:
    rows = rows_of([record(0), record(1), record(2)], overlay=False)
    rows[1]["objects"][0]["mask"]["counts"] = "damaged"
    write_folder(tmp_path / "in", {"train": [rows[:1], rows[1:]]}, described=False)
    messages = []
    for workers in (1, 2):
        with pytest.raises(BuiltFolderError, match=r"train-00001-of-00002\.parquet row 0: ") as raised:
            open_built(tmp_path / "in").export("coco", tmp_path / "out", engine="processes", workers=workers)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_spans_contain_every_row_once(crossing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = BuiltDataset(crossing)
    for size in (1, 2, 5, 100):
        monkeypatch.setattr(built_module, "_SPAN_RECORDS", size)
        plans = list(dataset.plans("train"))
        images = [image for plan in plans for image in plan.span.images(lambda _: None)]
        assert [image.number for image in images] == list(range(len(NAMES) + 4))
        assert [len(image.records) for image in images] == [1] * (len(NAMES) + 1) + [5, 1, 1]
        names = [plan.name(index) for plan in plans for index in range(len(plan.images))]
        assert names == [image.name for image in images]
        rows = [(path.name, row) for plan in plans for path, numbers in plan.span.rows for row in numbers]
        assert len(rows) == len({*rows}) == CUTS[-1]
        assert all(sum(plan.span.sizes) >= size for plan in plans[:-1])


def test_few_spans_are_planned_ahead_of_their_results(crossing: Path) -> None:
    """Nothing is held for the whole dataset."""
    dataset = BuiltDataset(crossing)
    planned = 0

    def tasks() -> Iterator[tuple[object, object]]:
        nonlocal planned
        for plan in dataset.plans("train"):
            planned += 1
            yield plan.span, len_of

    with dataset.converting(WorkerOptions(engine="processes", workers=1)):
        ahead = [planned - done for done, _ in enumerate(dataset.converted(tasks()), 1)]
    assert planned > 4
    assert max(ahead) == 0


def len_of(images: Iterator[object]) -> int:
    return sum(1 for _ in images)


def test_progress_of_workers_counts_every_record(crossing: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    open_built(crossing).export(
        "webdataset", tmp_path / "out", engine="processes", workers=2, on_progress=lambda *step: seen.append(step)
    )
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("exporting", 19, 19)


def test_interrupt_leaves_nothing(crossing: Path, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_built(crossing).export("coco", tmp_path / "out", engine="processes", workers=2, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_command_takes_the_options_of_workers(crossing: Path, tmp_path: Path) -> None:
    def run(out: str, *options: str) -> dict[str, object]:
        arguments = ["export", str(crossing), str(tmp_path / out), "--to", "coco", "--json", *options]
        shown = CliRunner().invoke(app, arguments)
        assert shown.exit_code == 0, shown.output
        return json.loads(shown.stdout) | {"destination": None}

    assert run("two", "--workers", "2", "--engine", "processes") == run("one")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    with pytest.raises(RecipeError, match="known: engine, ray_address, workers"):
        open_built(crossing).export("coco", tmp_path / "out", processes=2)
