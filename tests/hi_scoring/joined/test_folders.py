"""Folders of results: recognised by their command, of one model, and refused in one line otherwise."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from datasetkit.core.errors import BuiltFolderError, RecipeError
from datasetkit.hi_scoring.joined.folders import read_folders
from tests.hi_scoring.joined.made import MODEL, ablated, blocked, changed_note, note, scored, sparsified, tuned


def test_folders_come_in_the_order_of_the_page(tmp_path: Path) -> None:
    folders = [
        tuned(tmp_path / "one", {"all": 0.1}, "datasetkit tune"),
        sparsified(tmp_path / "two"),
        ablated(tmp_path / "three", {"hi:last": 0.1}),
        blocked(tmp_path / "four"),
        scored(tmp_path / "five"),
        scored(tmp_path / "a"),
    ]
    found = read_folders(folders)
    assert [one.name for one in found] == ["five", "a", "four", "three", "two", "one"]
    assert found[0].command == "datasetkit score"
    assert {one.model for one in found} == {MODEL}


def test_folders_of_one_name_show_their_parents(tmp_path: Path) -> None:
    folders = [scored(tmp_path / "scores" / "vlm--toy"), blocked(tmp_path / "knockouts" / "vlm--toy")]
    assert [one.name for one in read_folders(folders)] == ["scores/vlm--toy", "knockouts/vlm--toy"]


def test_another_model_is_refused_but_not_another_name(tmp_path: Path) -> None:
    ours = scored(tmp_path / "ours")
    renamed = blocked(tmp_path / "renamed", model=replace(MODEL, id="vlm"))
    assert len(read_folders([ours, renamed])) == 2
    other = blocked(tmp_path / "other", model=replace(MODEL, sha256="cd" * 32))
    with pytest.raises(RecipeError, match=r"ours is about toyworld:vlm \(abab.*\), .*other about .*\(cdcd.*one model"):
        read_folders([ours, other])


def test_no_folder_and_repeated_folder_are_refused(tmp_path: Path) -> None:
    ours = scored(tmp_path / "ours")
    for folders, told in (([], "give at least one"), ([ours, tmp_path / "." / "ours"], "ours was given twice")):
        with pytest.raises(RecipeError, match=told):
            read_folders(folders)


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    strange = note(tmp_path / "strange", "datasetkit build")
    nameless = scored(tmp_path / "nameless")
    changed_note(nameless, model=None)
    for folder, told in (
        (tmp_path / "empty", "run.json is missing; give folders that `datasetkit score`"),
        (tmp_path / "missing", "there is no such folder"),
        (strange, "holds no results that a report can show"),
        (nameless, "run.json is damaged: model is null"),
        (note(tmp_path / "begun", "datasetkit ablate"), "ablation.json is missing; run it again, to its end"),
    ):
        with pytest.raises(BuiltFolderError, match=re.escape(told)):
            read_folders([folder])
