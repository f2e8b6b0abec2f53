"""``datasetkit score`` on custom rows and few samples: messages and their order."""

from __future__ import annotations

import subprocess
from pathlib import Path

import datasets
import pytest

from tests.cli.test_score import MODEL, command, environment, run
from tests.hi_scoring.images import TEXT, sample
from tests.hi_scoring.scored import png

pytestmark = pytest.mark.slow

ROWS = 3


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows without phrases; read-only."""
    folder = tmp_path_factory.mktemp("rows") / "plain"
    rows = {
        "image": [{"bytes": png(sample(number).image), "path": None} for number in range(ROWS)],
        "text": [TEXT] * ROWS,
        "masks": [[mask.to_coco() for mask in sample(number).objects] for number in range(ROWS)],
    }
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(folder / "rows.parquet")
    return folder


@pytest.mark.parametrize(
    "options", [("--by", "hi:phrase"), ("--positions", "phrase"), ("--positions", "phrase,last")], ids=" ".join
)
def test_a_ranking_by_missing_phrases_is_refused_early(plain: Path, options: tuple[str, ...]) -> None:
    code, _, errors = run("score", *MODEL, "--data", plain, *options)
    assert code == 1
    assert errors.splitlines()[-1] == (
        "error: --by hi:phrase: no row of plain has phrases (it lacks the columns objects and phrases); "
        "give other positions"
    )


@pytest.mark.usefixtures("undrawn")
def test_positions_that_no_row_has_are_told_of(plain: Path, tmp_path: Path) -> None:
    code, _, errors = run("score", *MODEL, "--data", plain, "--out", tmp_path / "out")
    assert code == 0
    assert "phrase: no row of plain has phrases (it lacks the columns objects and phrases)" in errors.splitlines()


@pytest.mark.usefixtures("undrawn")
def test_heads_are_ranked_at_the_first_of_the_given_positions(plain: Path, tmp_path: Path) -> None:
    code, shown, _ = run("score", *MODEL, "--data", plain, "--out", tmp_path / "out", "--positions", "last,response")
    assert code == 0
    assert "heads by hi:last" in shown


@pytest.mark.usefixtures("undrawn")
def test_the_rows_that_are_scored_and_that_they_are_few_is_told(plain: Path, tmp_path: Path) -> None:
    code, shown, errors = run("score", *MODEL, "--data", plain, "--out", tmp_path / "out", "--limit", "1")
    assert code == 0
    assert "rows: 1 of split train of plain" in errors.splitlines()
    assert f"wrote {tmp_path / 'out'} (scores of 1 sample)" in shown.splitlines()
    assert "few samples    1: intervals and rankings mean little below about 30" in shown.splitlines()
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "for the images of plain, its output is meaningless.</strong> Few samples (1): " in page


def test_the_page_is_written_though_nobody_reads_what_is_printed(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command("score", *MODEL, "--data", plain, "--positions", "last", "--top", "1", "--out", out)
    process = subprocess.Popen(
        arguments, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.close()
    assert "Traceback" not in process.communicate(timeout=120)[1]
    assert (out / "report.html").is_file()
