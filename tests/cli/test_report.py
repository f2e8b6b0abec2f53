"""``datasetkit report`` for users: a page, the verdicts, one-line errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from tests.hi_scoring.joined.made import MODEL, ablated, blocked, scored


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_page_and_its_verdicts(tmp_path: Path) -> None:
    page = tmp_path / "pages" / "model.html"
    folders = (scored(tmp_path / "scores"), ablated(tmp_path / "ablated", {"ram:response": 0.3}))
    code, shown, reported = run(*folders, "--out", page)
    assert (code, reported) == (0, "")
    assert "claims of the papers" in shown
    assert "not measured" in shown
    assert "holds" in shown
    assert shown.splitlines()[-1] == f"wrote {page}; open it in a browser"
    assert "verdict" in shown
    assert "datasetkit ablate: ablated" in page.read_text("utf-8")


def test_different_models_are_refused_without_output(tmp_path: Path) -> None:
    other = blocked(tmp_path / "other", model=replace(MODEL, sha256="cd" * 32))
    code, shown, reported = run(scored(tmp_path / "ours"), other, "--out", tmp_path / "page.html")
    assert (code, shown) == (1, "")
    assert reported.startswith("error: ")
    assert reported.count("\n") == 1
    assert "a report covers one model" in reported
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_page_gives_way_to_a_page_and_nothing_else_does(tmp_path: Path) -> None:
    ours, notes = scored(tmp_path / "scores"), tmp_path / "notes.txt"
    notes.write_text("mine")
    for place, reported in ((notes, f"{notes} exists and is not a page"), (tmp_path, "give a file, such as ")):
        code, shown, error = run(ours, "--out", place)
        assert (code, shown, error.count("\n")) == (1, "", 1)
        assert reported in error
    assert notes.read_text() == "mine"
    for _ in range(2):
        assert run(ours, "--out", tmp_path / "page.html")[0] == 0
