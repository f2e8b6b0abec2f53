"""`build --dry-run`: what the first entries become, without output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from tests.conftest import REPOSITORY

PHOTOGRAPHS = REPOSITORY / "examples/photographs"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The photographs, of which one is missing."""
    place = tmp_path / "in"
    shutil.copytree(PHOTOGRAPHS, place)
    (place / "coffee.jpg").unlink()
    return place


def test_one_record_and_reasons_are_shown(place: Path) -> None:
    words = ["build", "from", f"{place}/instances.json", "--captions", f"{place}/captions.json", "--dry-run"]
    before = sorted(place.parent.rglob("*"))
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "read         6 of 6 entries, kept 5"
    assert lines[1].startswith("dropped      1 record: missing, such as 1 (")
    assert "phrase       [0, 16) 'An elderly woman': matched 0, words" in lines
    assert lines[-1] == "wrote        nothing; leave out --dry-run to build"
    assert sorted(place.parent.rglob("*")) == before


def test_json_has_the_record_as_a_row(place: Path) -> None:
    words = ["build", "from", f"{place}/instances.json", "--captions", f"{place}/captions.json", "--dry-run", "--json"]
    result = CliRunner().invoke(app, words)
    found = json.loads(result.stdout)
    assert (found["entries"], found["read"], [drop["reason"] for drop in found["drops"]]) == (6, 6, ["missing"])
    assert found["record"]["image"] == "grace_hopper.jpg"
    assert found["record"]["phrases"][0]["object_ids"] == [0]
