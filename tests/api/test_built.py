"""A built dataset in Python: results, written files and errors of each method."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import datasetkit as dk
from datasetkit.core.errors import BuiltFolderError, HubError, OutputError, UnknownNameError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.export.publish.hub.results import Plan, Pushed
from tests.export.folders import RECIPE, bare_record, record, rows_of, write_folder
from tests.export.publish.pushing import NAME, expected, held
from tests.hub.clients import talk_to
from tests.hub.server import HubServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("api") / "scenes"
    write_folder(out, {"train": [rows_of([record(0), record(1)])], "test": [rows_of([bare_record(2)])]})
    return out


def test_a_folder_says_what_it_holds(folder: Path) -> None:
    built = dk.open(str(folder))
    assert (built.path, len(built), built.split_rows) == (folder, 3, {"train": 2, "test": 1})
    assert repr(built) == f"Built('{folder}': 3 records; train 2, test 1)"
    assert list(built.report()) == [
        "records      read 3, kept 3 (train 2, test 1)",
        "annotations  read 8, kept 8",
        "phrases      6: 2 matched, 2 ambiguous, 2 not an object",
        f"wrote        {folder}",
    ]
    assert json.loads(json.dumps(built.as_json()))["splits"] == {"train": 2, "test": 1}


def test_a_notebook_shows_counts_and_thumbnails(tmp_path: Path) -> None:
    item = record(0)
    rows = rows_of([item, record(1), record(2)])
    rows[0]["description"] = '"><script>' + item.description
    write_folder(tmp_path / "out", {"train": [rows]})
    shown = dk.open(tmp_path / "out")._repr_html_()
    assert "read 3, kept 3 (train 3)" in shown
    assert shown.count('<img src="data:image/jpeg;base64,') == 2
    assert "<script>" not in shown
    assert "published" in dk.open(f"hf://datasets/{NAME}")._repr_html_()


@pytest.mark.parametrize(
    ("recipe", "drops", "line"),
    [
        ({**RECIPE, "source": {"name": "coco", "captions": None}}, [], "hint         --captions FILE adds"),
        (
            RECIPE,
            [Drop("record", "a", DropReason.NO_DESCRIPTION, "none")],
            "hint         without --require-description",
        ),
        (RECIPE, [Drop("record", "a", DropReason.NO_DESCRIPTION, "none")], "dropped      1 record: no_description ("),
    ],
)
def test_hints_follow_from_recipe_and_drops(tmp_path: Path, recipe: dict, drops: list[Drop], line: str) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([record(0)])]}, recipe=recipe, drops=drops)
    assert any(reported.startswith(line) for reported in dk.open(tmp_path / "out").report())


def test_annotations_that_were_all_dropped_are_a_warning(tmp_path: Path) -> None:
    drop = Drop("annotation", "1", DropReason.UNKNOWN_IMAGE, "7")
    write_folder(tmp_path / "out", {"train": [rows_of([bare_record(0)])]}, drops=[drop])
    assert list(dk.open(tmp_path / "out").report())[-1].startswith("warning: no annotation was kept;")


def test_each_method_leaves_its_files_and_names_them(folder: Path, tmp_path: Path) -> None:
    built = dk.open(shutil.copytree(folder, tmp_path / "scenes"))
    found = built.verify()
    assert (found.is_sound, list(found.report())) == (True, [f"{built.path} is sound"])
    stats = built.stats()
    assert stats.statistics.total.records == stats.as_json()["total"]["records"] == 3
    assert all(path.is_file() for path in stats.plots)
    assert repr(stats) == "StatisticsReport(3 records, 8 objects, 6 phrases)"
    page = built.preview(limit=2)
    assert (page.path, page.shown, page.total) == (tmp_path / "scenes.html", 2, 3)
    assert built.preview(tmp_path / "page.html").path.read_text().startswith("<!doctype html>")
    (tmp_path / "scenes" / "README.md").unlink()
    assert built.card().path.is_file()
    done = built.export("coco", str(tmp_path / "coco"), split="train")
    assert (done.records, done.destination) == (2, str(tmp_path / "coco"))
    assert str(tmp_path) not in (tmp_path / "coco" / ".datasetkit-export.json").read_text()
    assert "<pre" in done._repr_html_()


def test_what_cannot_be_done_is_refused(folder: Path, tmp_path: Path) -> None:
    built = dk.open(folder)
    with pytest.raises(UnknownNameError, match="no format is called 'voc'; known: coco, imagefolder"):
        built.export("voc", tmp_path / "out")
    with pytest.raises(BuiltFolderError, match="has no split 'dev'; it has train, test"):
        built.export("coco", tmp_path / "out", split="dev")
    with pytest.raises(OutputError, match="are for the Hub"):
        built.push("s3://bucket/x", create_pr=True)
    with pytest.raises(BuiltFolderError, match="only verify and push read remote datasets: download it"):
        dk.open(NAME).stats()


@pytest.mark.parametrize("name", [".", "nowhere", "a b/c", "file"])
def test_what_was_not_built_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuiltFolderError, match=r"was not written by datasetkit|is not a folder"):
        dk.open(tmp_path / name)


def test_a_damaged_manifest_is_a_fault_and_in_the_repr(folder: Path, tmp_path: Path) -> None:
    out = shutil.copytree(folder, tmp_path / "scenes")
    (out / "manifest.json").write_text("[]")
    built = dk.open(out)
    assert not built.verify().is_sound
    assert "is not a manifest of datasetkit" in repr(built)


def test_a_push_and_what_was_pushed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as hub:
        talk_to(hub, tmp_path / "home", monkeypatch)
        monkeypatch.delenv("HF_TOKEN")
        built = dk.open(folder)
        planned = built.push(NAME, token=hub.token, dry_run=True)
        assert isinstance(planned, Plan)
        assert NAME not in {name for _, name in hub.state.repositories}
        pushed = built.push(NAME, token=hub.token, tag="v1", commit_message="Scenes")
        assert isinstance(pushed, Pushed)
        assert (pushed.commit, pushed.url) == (hub.repository(NAME).head, f"{hub.endpoint}/datasets/{NAME}/tree/v1")
        assert held(hub, "v1") == expected(hub, folder)
        for result in (planned, pushed):
            assert hub.token not in repr(result) + json.dumps(result.as_json()) + "".join(result.report())
        published = dk.open(f"{NAME}@v1")
        assert published.verify().is_sound
        assert (len(published), published.split_rows) == (3, {"train": 2, "test": 1})
        hub.repository(NAME).write({}, delete=[path for path in held(hub) if path != "README.md"])
        with pytest.raises(BuiltFolderError, match=f"{NAME} was not written by datasetkit"):
            dk.open(NAME).verify()
        with pytest.raises(HubError, match="user/nothing is not a folder; looking for"):
            dk.open("user/nothing").verify()
