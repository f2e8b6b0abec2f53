"""Wrong input to the public functions, and damaged papers of a built folder: one-line errors, or an OSError."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import datasetkit as dk
from datasetkit.core.errors import BuiltFolderError, DatasetkitError, HubError
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.export.dataset.manifest import LEDGER_NAME, MANIFEST_NAME, STATISTICS_NAME, Manifest
from datasetkit.export.statistics.statistics import Statistics
from tests.export.folders import ModelIdentity, bare_record, record, rows_of, write_folder
from tests.hub.faults import Fault
from tests.hub.server import HubServer

MODEL = "toyworld:vlm"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong") / "out"
    write_folder(
        folder,
        {"train": [rows_of([record(1), bare_record(2)])]},
        drops=[Drop("record", "13", DropReason.TRUNCATED, "x")],
        notices=[Notice("record 1", NoticeKind.ANIMATION_FIRST_FRAME)],
        models=(ModelIdentity("detector", "a/b", "c" * 40, None),),
    )
    return folder


def wrong_values(folder: Path) -> dict[str, Any]:
    """Wrong values for a dataset."""
    (folder / "file").write_text("x")
    (folder / "foreign").mkdir(exist_ok=True)
    (folder / "foreign" / "a.txt").write_text("x")
    values = (5, float("nan"), True, None, "", "a\0b", "\udcff", b"x", [], [5], {}, object(), dict, "x" * 3000)
    places = ("missing", "file", "foreign")
    named = {repr(value)[:20]: value for value in values}
    named |= {name: str(folder / name) for name in places} | {"a Path": folder / "missing"}
    return named | {address: address for address in ("~nobody/x", "http://", "s3://", "nope://x/y")}


FUNCTIONS: dict[str, Callable[[Any, Path, Path], object]] = {
    "open": lambda value, *_: dk.open(value),
    "load": lambda value, *_: dk.load(value),
    "load split": lambda value, built, _: dk.load(built, split=[] if value is None else value),
    "masks": lambda value, *_: dk.masks(value),
    "masks of a row": lambda value, *_: dk.masks({"width": 2, "height": 2, "objects": value and [value]}),
    "mask": lambda value, *_: dk.masks({"width": 2, "height": 2, "objects": [{"mask": value or 5}]}),
    "overlay": lambda value, *_: dk.overlay(value),
    "overlay side": lambda value, built, _: dk.overlay(dk.load(built, split="train")[0], value or "none"),
    "phrase_masks": lambda value, *_: dk.phrase_masks(value, "a"),
    "phrase": lambda value, built, _: dk.phrase_masks(dk.load(built, split="train")[1], value),
    "report": lambda value, *_: dk.report(value),
    "build": lambda value, _, to: dk.build(value, to / "o"),
    "score": lambda value, _, to: dk.score(MODEL, value, out=to / "s"),
    "score model": lambda value, built, to: dk.score(value, built, out=to / "s"),
    "knockout": lambda value, _, to: dk.knockout(MODEL, value, out=to / "k"),
    "ablate": lambda value, built, to: dk.ablate(MODEL, built, scores=value, out=to / "a"),
    "sparsify": lambda value, built, to: dk.sparsify(MODEL, built, scores=value, out=to / "p"),
    "tune": lambda value, _, to: dk.tune(MODEL, value, out=to / "t"),
    "compare": lambda value, _, to: dk.compare(MODEL, value, out=to / "c"),
    "preview limit": lambda value, built, to: dk.open(built).preview(to / "page.html", limit=value or "none"),
    "export format": lambda value, built, to: dk.open(built).export(value, to / "e"),
    "export split": lambda value, built, to: dk.open(built).export("coco", to / "e", split=value or "none"),
    "push": lambda value, built, _: dk.open(built).push(value or 5, dry_run=True),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_wrong_input_is_an_error_of_ours(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[Any, Path, Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused: dict[str, str] = {}
    for name, value in wrong_values(tmp_path).items():
        try:
            function(value, built, tmp_path / "to")
        except (DatasetkitError, OSError) as error:
            refused[name] = str(error)
    assert len(refused) >= 10
    assert [name for name, reported in refused.items() if "\n" in reported] == []
    assert not (tmp_path / "to" / "e").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status"),
    [(None, 404), (Fault("", "status", times=10_000, status=401), 401), (Fault("", "status", 10_000, status=403), 403)],
    ids=["not there", "401", "403"],
)
def test_what_the_hub_refuses_is_an_error_of_ours(hub: HubServer, fault: Fault | None, status: int) -> None:
    if fault is not None:
        hub.faults.add(fault)
    for call in (lambda: dk.load("user/nothing"), lambda: dk.open("user/nothing").manifest):
        with pytest.raises(HubError) as caught:
            call()
        assert "user/nothing" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert caught.value.status in {status, 404}


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, part in items:
        yield from parts(part, (*path, name))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


GONE = object()
OTHERS = (None, "", "odd", "a\0b", 5, -1, 2**70, 1.5, True, float("nan"), [], [None], {}, {"a": 1}, nested(400), GONE)


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    value = copy.deepcopy(value)
    if not path:
        return None if other is GONE else other
    place = value
    for step in path[:-1]:
        place = place[step]
    if other is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = other
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", [MANIFEST_NAME, STATISTICS_NAME])
def test_papers_of_other_types_are_refused_when_they_are_read(built: Path, tmp_path: Path, name: str) -> None:
    """What is read all the same is used by whatever prints it."""
    sound = json.loads((built / name).read_text())
    if name == MANIFEST_NAME:
        sound["plugins"] = [{"kind": "source", "name": "x", "path": "a:B", "distribution": None, "version": None}]
        sound["passed_over"] = [{"kind": "hidden", "count": 1, "examples": ["a"]}]
    folder, refused = tmp_path / "out", []
    folder.mkdir()
    for paper in (MANIFEST_NAME, STATISTICS_NAME, LEDGER_NAME):
        (folder / paper).write_bytes((built / paper).read_bytes())
    for path in parts(sound):
        for other in OTHERS:
            (folder / name).write_text(json.dumps(changed(sound, path, other)))
            try:
                manifest, statistics = Manifest.read(folder), Statistics.read(folder)
            except BuiltFolderError as error:
                refused.append(str(error))
                continue
            reported = dk.open(folder)
            assert repr(reported)
            assert json.dumps(reported.as_json())
            assert [*reported.report()]
            assert manifest.options
            assert statistics.shared_images is not None
    assert len(refused) > 400
    assert not any("\n" in reported for reported in refused)


@pytest.mark.parametrize("text", ["", "[", "null", "5", "[]", "{}", "\udcff", "[" * 100_000, "1" * 10_000])
def test_a_manifest_that_is_none_is_refused_by_every_command(tmp_path: Path, text: str) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([bare_record(1)])]}, described=False)
    (tmp_path / "out" / MANIFEST_NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    built = dk.open(tmp_path / "out")
    assert not built.verify().is_sound
    calls: list[Callable[[], object]] = [
        built.stats,
        built.preview,
        built.card,
        built.as_json,
        lambda: built.export("coco", tmp_path / "coco"),
        lambda: built.push("user/name", dry_run=True),
        lambda: dk.build("toyworld", tmp_path / "out", count=1, preset="none"),
    ]
    for call in calls:
        with pytest.raises(DatasetkitError) as caught:
            call()
        assert "\n" not in str(caught.value)
