"""Knockouts of whole datasets: interrupted and resumed, saved and read back, in foreign folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import BuiltFolderError, OutputError
from datasetkit.hi_scoring.interventions import knockout_run
from datasetkit.hi_scoring.interventions.knockout_results import RESULT_NAMES, Knockouts
from datasetkit.hi_scoring.interventions.knockout_run import knockout_dataset
from datasetkit.hi_scoring.interventions.questions import Questions
from datasetkit.hi_scoring.runs.drops import read_drops
from datasetkit.options.heads import KnockoutOptions
from tests.hi_scoring.interventions.running import contents, knock, questions_of, rows
from tests.hi_scoring.killed import moments_tried
from tests.hi_scoring.scored import TinySubject, UnusedSubject


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knockout_run, "PART", 2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run in parts of two; read-only."""
    folder = tmp_path_factory.mktemp("knockouts") / "finished"
    former, knockout_run.PART = knockout_run.PART, 2
    knock(folder, questions_of(rows(5)))
    knockout_run.PART = former
    return folder


def test_interrupted_run_gives_equal_bytes(finished: Path, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        knock(tmp_path, questions_of(rows(5)), on_progress=stop)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["00000000.parquet"]
    gone_on: list[int] = []
    knock(tmp_path, questions_of(rows(5)), on_progress=gone_on.append)
    # The question after the first part is measured again.
    assert gone_on == [3, 4, 5]
    assert contents(tmp_path) == contents(finished)
    assert not (tmp_path / "parts").exists()


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Only some of many moments; run by hand with stride 1 to try all of them."""
    assert moments_tried("tests.hi_scoring.interventions.killing", tmp_path, 17) >= 3


def test_results_round_trip(finished: Path) -> None:
    found = Knockouts.load(finished)
    assert {path.name for path in finished.iterdir()} == {*RESULT_NAMES, "run.json", "drops.jsonl"}
    assert found.facts["counts"] == {
        "questions": 5,
        "right": 0,
        "blocked": 5,
        "flows": {
            "image -> question": {"n": 5, "without": 0, "controlled": 0, "overlapping": 0},
            "key object -> last": {"n": 4, "without": 1, "controlled": 4, "overlapping": 0},
        },
    }
    assert found.tables.knockout.num_rows == (5 + 4) * 4
    assert len(found.tables.curves) == 2 * 4
    again = knock(finished, questions_of(rows(5)), UnusedSubject())
    assert again.facts == found.facts
    assert again.tables.curves.equals(found.tables.curves)


def test_every_question_is_kept_or_dropped_with_its_reason(tmp_path: Path) -> None:
    given = rows(5)
    given[1]["image"] = {"bytes": given[1]["image"]["bytes"][:300]}
    given[2]["questions"][0]["question"] = "what </s> ?"
    given[3]["questions"][0]["object_ids"] = [9]
    found = knock(tmp_path, questions_of(given))
    assert found.tables.questions["record_id"].to_pylist() == ["sample-0", "sample-4"]
    assert [(drop.row, drop.item_id, drop.reason) for drop in read_drops(tmp_path)] == [
        (1, "sample-1#0", "truncated"),
        (2, "sample-2#0", "special_token"),
        (3, "sample-3", "bad_row"),
    ]


def test_no_measurable_question_is_one_line(tmp_path: Path) -> None:
    given = rows(2)
    for one in given:
        one["image"] = {"bytes": b"no image"}
    with pytest.raises(
        OutputError, match=r"no question could be measured \(2 x not_an_image: not in a supported"
    ) as caught:
        knock(tmp_path, questions_of(given))
    assert "\n" not in str(caught.value)


def test_nothing_to_block_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nothing was blocked: the model answered 2 questions, 0 of them right"):
        knock(tmp_path, questions_of(rows(2)), only_correct=True)
    assert not (tmp_path / "drops.jsonl").exists()


@pytest.mark.parametrize(
    ("questions", "options", "differs"),
    [
        (questions_of(rows(5)), {"window": 3}, "options.window is 1 there, 3 here"),
        (questions_of(rows(4)), {}, "data.rows is 5 there, 4 here"),
        (questions_of(rows(5), "{question} now"), {}, 'question_prompt is "{question}" there, "{question} now" here'),
    ],
)
def test_other_results_in_the_folder_stay(
    finished: Path, questions: Questions, options: dict[str, Any], differs: str
) -> None:
    before = contents(finished)
    with pytest.raises(OutputError) as caught:
        knock(finished, questions, UnusedSubject(), **options)
    assert str(caught.value) == f"{finished} holds other results: {differs}; give another --out, or --overwrite"
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("place", "there", "differs"),
    [(("versions", "torch"), "1.0", 'versions.torch is "1.0" there, "'), (("part",), 3, "part is 3 there, 2 here")],
)
def test_parts_of_other_versions_are_not_resumed(
    tmp_path: Path, place: tuple[str, ...], there: object, differs: str
) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        knock(tmp_path, questions_of(rows(5)), on_progress=stop)
    told = json.loads((tmp_path / "run.json").read_text())
    (told if len(place) == 1 else told[place[0]])[place[-1]] = there
    (tmp_path / "run.json").write_text(json.dumps(told))
    with pytest.raises(OutputError) as caught:
        knock(tmp_path, questions_of(rows(5)), UnusedSubject())
    assert differs in str(caught.value)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["00000000.parquet"]


def test_overwrite_removes_other_results(finished: Path, tmp_path: Path) -> None:
    knock(tmp_path, questions_of(rows(2)), window=3)
    knock(tmp_path, questions_of(rows(5)), overwrite=True)
    assert contents(tmp_path) == contents(finished)


def test_foreign_folders_are_never_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files that `datasetkit knockout` did not make"):
        knock(tmp_path, questions_of(rows(2)), UnusedSubject(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("knockout.json", b"{", "knockout.json is not JSON"),
        ("knockout.json", b'{"format": 9}', "holds knockouts of format 9; this datasetkit reads format 2"),
        ("knockout.json", b"[]", "holds knockouts of format null"),
        ("curves.parquet", b"damaged", "curves.parquet cannot be read"),
    ],
)
def test_damaged_results_are_reported(finished: Path, tmp_path: Path, name: str, content: bytes, told: str) -> None:
    for one, data in contents(finished).items():
        (tmp_path / one).write_bytes(data)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BuiltFolderError, match=told):
        Knockouts.load(tmp_path)
    with pytest.raises(BuiltFolderError, match=told):
        knock(tmp_path, questions_of(rows(5)), UnusedSubject())


def test_the_default_options_block_every_flow(tmp_path: Path) -> None:
    found = knockout_dataset(
        TinySubject(), questions_of(rows(1)), KnockoutOptions(only_correct=False, answer_tokens=1), tmp_path
    )
    assert found.facts["counts"]["flows"].keys() == set(KnockoutOptions().flows)
    assert json.loads((tmp_path / "knockout.json").read_text())["options"]["window"] == 9
