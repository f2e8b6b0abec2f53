"""Runs over whole datasets: interrupted, resumed, in foreign folders, with unusable rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasetkit.core.errors import OutputError
from datasetkit.hi_scoring.runs.drops import read_drops
from datasetkit.hi_scoring.scores.dataset_scores import score_dataset
from datasetkit.hi_scoring.scores.run import Run, Share
from datasetkit.hi_scoring.scores.scorer import Scorer
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.images import sample
from tests.hi_scoring.killed import moments_tried
from tests.hi_scoring.scored import (
    BATCH,
    TinySubject,
    UnusedSubject,
    contents,
    data_of,
    plain_row,
    row,
    score,
)
from tests.hi_scoring.tiny_models import tiny

pytestmark = pytest.mark.slow

ROWS = [row(number) for number in range(24)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    score(folder, data_of(ROWS))
    return folder


@pytest.mark.parametrize("batches", [1, 4])
def test_interrupted_run_gives_equal_bytes(finished: Path, tmp_path: Path, batches: int) -> None:
    done: list[int] = []

    def stop(rows: int) -> None:
        done.append(rows)
        if len(done) == batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_dataset(TinySubject(), data_of(ROWS), ScoreOptions(), tmp_path, batch=BATCH, on_progress=stop)
    assert done[-1] == batches * BATCH
    gone_on: list[int] = []
    score_dataset(TinySubject(), data_of(ROWS), ScoreOptions(), tmp_path, batch=BATCH, on_progress=gone_on.append)
    assert gone_on == list(range((batches + 1) * BATCH, len(ROWS) + 1, BATCH))
    assert contents(tmp_path) == contents(finished)


def test_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Only some of many moments; run by hand with stride 1 to try all of them."""
    assert moments_tried("tests.hi_scoring.killing", tmp_path, 17) >= 4


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_equal_values(finished: Path, tmp_path: Path, processes: int) -> None:
    subject = TinySubject()
    run = Run(tmp_path / "out", {"any": "thing"})
    run.prepare(overwrite=False)
    scorer = Scorer(subject.model, subject.processor, ScoreOptions())
    for rank in reversed(range(processes)):
        run.score(scorer, data_of(ROWS), BATCH, Share(rank, processes))
    alone = score(finished, data_of(ROWS), UnusedSubject())
    merged = run.merge(ScoreOptions().positions)
    assert merged.record_ids == alone.record_ids == tuple(f"sample-{number}" for number in range(24))
    for name, array in alone.values.items():
        assert np.array_equal(merged.values[name], array, equal_nan=True), name


def test_every_row_is_kept_or_dropped_with_its_reason(tmp_path: Path) -> None:
    image = row(0)["image"]["bytes"]
    bad = {
        1: (row(1, phrases=[]), "no_key_object", "sample-1"),
        3: (row(3, image={"bytes": image[:300]}), "truncated", "sample-3"),
        4: (row(4, image={"bytes": b"no image"}), "not_an_image", "sample-4"),
        5: (row(5, image={"bytes": None, "path": None}), "bad_row", "sample-5"),
        6: (row(6, description="a red </s> square"), "special_token", "sample-6"),
        8: (row(8, description="a red square " * 2000, phrases=row(8)["phrases"]), "text_too_long", "sample-8"),
        9: (row(9, description=""), "no_description", "sample-9"),
        10: (row(10, objects=[{"id": 0}]), "bad_row", "sample-10"),
        11: (plain_row(11, masks=[np.ones((5, 5))]), "bad_mask", "row-11"),
    }
    rows = [bad[number][0] if number in bad else row(number) for number in range(13)]
    scores = score(tmp_path, data_of(rows))
    drops = [json.loads(line) for line in (tmp_path / "drops.jsonl").read_text().splitlines()]
    assert [(drop["row"], drop["reason"], drop["record_id"]) for drop in drops] == [
        (number, reason, record_id) for number, (_, reason, record_id) in bad.items()
    ]
    assert all(drop["detail"] for drop in drops)
    assert scores.record_ids == tuple(f"sample-{number}" for number in (0, 2, 7, 12))
    assert len(scores.record_ids) + len(drops) == len(rows)
    assert [drop.reason for drop in read_drops(tmp_path)] == [reason for _, reason, _ in bad.values()]


class Decoded:
    """Rows that are decoded on access, one of which cannot be decoded."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 1:
            raise self._error
        return row(index)


@pytest.mark.parametrize("error", [OSError("broken"), EOFError("broken"), IndexError("broken"), TypeError("broken")])
def test_unreadable_row_does_not_end_a_run(tmp_path: Path, error: Exception) -> None:
    scores = score(tmp_path, data_of(Decoded(error)), positions=("last",))  # type: ignore[arg-type]
    assert scores.record_ids == ("sample-0", "sample-2")
    [drop] = read_drops(tmp_path)
    assert (drop.row, drop.item_id, drop.reason) == (1, "row-1", "unreadable")
    assert drop.detail == "the row cannot be read: broken"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "it has no rows"),
        ([row(0, phrases=[])] * 3, "3 x no_key_object: no phrase names an object with a mask"),
        ([{"image": "a.png", "text": "it", "masks": []}], "1 x bad_row: .*; the first: no image in the column image"),
    ],
    ids=["no rows", "no key objects", "no images"],
)
def test_nothing_to_score_is_one_line(tmp_path: Path, rows: list[Any], told: str) -> None:
    with pytest.raises(OutputError, match=told) as caught:
        score(tmp_path, data_of(rows))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores.json").exists()


def test_equal_run_is_loaded(finished: Path) -> None:
    before = {path.name: path.stat() for path in finished.iterdir()}
    again = score(finished, data_of(ROWS), UnusedSubject())
    assert {path.name: path.stat() for path in finished.iterdir()} == before
    assert again.n("hi", "response").tolist() == [[24] * 4] * 4


@pytest.mark.parametrize(
    ("data", "weights", "options", "differs"),
    [
        (data_of(ROWS), "b", {}, 'model.sha256 is "a" there, "b" here'),
        (data_of(ROWS, "others"), "a", {}, 'data.name is "rows" there, "others" here'),
        (data_of(ROWS[:8]), "a", {}, "data.rows is 24 there, 8 here"),
        (data_of(ROWS), "a", {"prompt": "What is it?"}, 'prompt is "Describe the picture." there, "What is it?" here'),
        (
            data_of(ROWS[:8]),
            "b",
            {"positions": ["last"]},
            'model.sha256 is "a" there, "b" here; data.rows is 24 there, 8 here; '
            'options.positions is ["response", "phrase", "last"] there, ["last"] here',
        ),
    ],
)
def test_other_results_stay_and_differences_are_named(
    finished: Path, data: Any, weights: str, options: dict[str, Any], differs: str
) -> None:
    before = contents(finished)
    with pytest.raises(OutputError) as caught:
        score(finished, data, UnusedSubject(weights=weights), **options)
    told = str(caught.value)
    assert told.startswith(f"{finished} holds other results: ")
    assert told.endswith(f"{differs}; give another --out, or --overwrite")
    assert contents(finished) == before


def test_run_without_scores_is_replaced(finished: Path, tmp_path: Path) -> None:
    class Stopped(TinySubject):
        @property
        def processor(self) -> Any:  # type: ignore[override]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_dataset(Stopped(), data_of(ROWS), ScoreOptions(), tmp_path, batch=9)
    score(tmp_path, data_of(ROWS))
    assert contents(tmp_path) == contents(finished)


def test_overwrite_removes_only_other_results(tmp_path: Path) -> None:
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    score(fresh, data_of(ROWS[:5]), positions=("last",))
    score(out, data_of(ROWS[:3]), positions=("response",))
    (out / "report.html").write_text("of the other run")
    (out / "mine.txt").write_text("mine")
    (out / "parts").mkdir()
    (out / "parts" / "mine.safetensors").write_text("mine")
    score(out, data_of(ROWS[:5]), overwrite=True, positions=("last",))
    assert contents(out) == contents(fresh)
    assert not (out / "report.html").exists()
    assert (out / "mine.txt").read_text() == (out / "parts" / "mine.safetensors").read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "scores.json", "parts/00000000.safetensors"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folders_are_never_changed(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"mine": true}')
    with pytest.raises(OutputError, match="holds files that `datasetkit score` did not make; give another --out"):
        score(tmp_path, data_of(ROWS), UnusedSubject(), overwrite=overwrite)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == '{"mine": true}'


@pytest.mark.parametrize("name", ["scores.safetensors", "scores.json"])
def test_damaged_results_are_reported_and_rebuilt(tmp_path: Path, name: str) -> None:
    score(tmp_path, data_of(ROWS[:3]))
    whole = contents(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(OutputError, match=f"{name} .*score it again with --overwrite"):
        score(tmp_path, data_of(ROWS[:3]))
    score(tmp_path, data_of(ROWS[:3]), overwrite=True)
    assert contents(tmp_path) == whole


@pytest.fixture
def short_of_memory() -> Any:
    """Make the tiny model run out of memory in its third layer if a batch has more samples or tokens."""
    handles = []

    def limit(*, samples: int = 99, tokens: int = 9999) -> list[int]:
        seen: list[int] = []

        def look(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            seen.append(len(inputs[0]))
            if inputs[0].shape[0] > samples or inputs[0].shape[1] > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        handles.append(tiny("llava").model.get_decoder().layers[2].register_forward_pre_hook(look))
        return seen

    yield limit
    for handle in handles:
        handle.remove()


def test_too_large_batch_is_halved_without_loss(finished: Path, tmp_path: Path, short_of_memory: Any) -> None:
    sizes = short_of_memory(samples=2)
    scores = score(tmp_path, data_of(ROWS[:8]))
    assert sizes == [4, 2, 2, 2, 2]
    whole = score(finished, data_of(ROWS), UnusedSubject())
    assert scores.record_ids == whole.record_ids[:8]
    assert not read_drops(tmp_path)
    for name in (("ram", "response"), ("image_mass", "last"), ("hi_soft", "phrase")):
        np.testing.assert_allclose(scores.values[name], whole.values[name][:8], atol=1e-5)


def test_sample_that_never_fits_is_dropped(tmp_path: Path, short_of_memory: Any) -> None:
    short_of_memory(tokens=100)
    rows = [*ROWS[:5], row(5, description="a red square above a blue circle " * 20), *ROWS[6:8]]
    scores = score(tmp_path, data_of(rows))
    assert scores.record_ids == tuple(sample(number).record_id for number in (0, 1, 2, 3, 4, 6, 7))
    assert Counter(drop.reason for drop in read_drops(tmp_path)) == {"out_of_memory": 1}
