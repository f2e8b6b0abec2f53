"""Families and scores of another distribution: in results, tables and page; errors in them name them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasetkit.hi_scoring.scores.results import HeadScores
from tests.compatibility.former import FORMER
from tests.plugins.conftest import Command

pytestmark = pytest.mark.slow

SCORE = ("score", "--model", "toyworld:vlm", "--device", "cpu", "--data", FORMER / "scenes", "--split", "train")
OF_LAB = {"distribution": "my-lab", "version": "1.2"}


@pytest.mark.parametrize(("given", "name"), [("peak", "peak"), ("my_lab.heads:Peak", "Peak")])
def test_a_score_ranks_heads_and_is_in_results_table_and_page(
    command: Command, tmp_path: Path, given: str, name: str
) -> None:
    arguments = (*SCORE, "--positions", "response,last", "--scores", given, "--by", f"{name}:response", "--top", "2")
    done = command(*arguments, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert f"heads by {name}:response" in done.stdout
    scores = HeadScores.load(tmp_path / "out")
    assert {(name, "response"), (name, "last")} <= scores.values.keys()
    assert 0 < scores.mean(name, "response").max() <= 1
    assert set(scores.table()["score"]) >= {name, "hi"}
    [plugin] = scores.plugins
    assert (plugin.kind, plugin.name, plugin.path) == ("score", given, "my_lab.heads:Peak")
    [reported] = json.loads((tmp_path / "out" / "run.json").read_bytes())["plugins"]
    assert len(reported.pop("sha256")) == 64
    assert reported == {"kind": "score", "name": given, "path": "my_lab.heads:Peak", **OF_LAB}
    assert "my_lab.heads:Peak" in (tmp_path / "out" / "report.html").read_text()
    before = (tmp_path / "out" / "scores.json").stat().st_mtime_ns
    assert command(*arguments, "--out", "out").returncode == 0
    assert (tmp_path / "out" / "scores.json").stat().st_mtime_ns == before
    assert command(*SCORE, "--positions", "response,last", "--out", "out").returncode == 1


def test_a_family_by_its_class_scores_equally_and_is_recorded(command: Command, tmp_path: Path) -> None:
    arguments = (*SCORE, "--positions", "last", "--top", "1")
    assert command(*arguments, "--out", "ours").returncode == 0
    done = command(*arguments, "--family", "my_lab.heads:MyFamily", "--out", "theirs")
    assert done.returncode == 0, done.stderr
    ours, theirs = (HeadScores.load(tmp_path / name) for name in ("ours", "theirs"))
    assert (ours.mean("hi", "last") == theirs.mean("hi", "last")).all()
    assert not ours.plugins
    assert "plugins" not in (tmp_path / "ours" / "run.json").read_text()
    assert [(one.kind, one.path) for one in theirs.plugins] == [("family", "my_lab.heads:MyFamily")]


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (("--scores", "my_lab.broken:Flat"), "score my_lab.broken:Flat of my-lab 1.2 returned a Tensor of shape (8,)"),
        (("--scores", "my_lab.broken:Raising"), "score my_lab.broken:Raising of my-lab 1.2 failed: KeyError: 'no'"),
        (("--scores", "my_lab.nothing:It"), "score my_lab.nothing:It"),
        (("--scores", "no-such"), "no score is called 'no-such'; known: peak"),
        (("--family", "my_lab.heads:Peak"), "family my_lab.heads:Peak of my-lab 1.2 is not a subclass of"),
        (("--family", "my_lab.broken:Lost"), "family my_lab.broken:Lost of my-lab 1.2 failed: ZeroDivisionError"),
        (("--family", "my_lab.broken:Few"), "family my_lab.broken:Few of my-lab 1.2"),
        (("--family", "no-such"), "no family is called 'no-such'; known: gemma3, "),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_what_goes_wrong_is_one_line_that_names_it(command: Command, options: tuple[str, ...], reported: str) -> None:
    done = command(*SCORE, "--positions", "last", "--out", "out", *options)
    assert done.returncode == 1
    assert reported in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
