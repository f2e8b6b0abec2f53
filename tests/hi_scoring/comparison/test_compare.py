"""Comparisons in their folder: resumed, extended, sharded, refused; and the files of a cell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError, ModelError, OutputError, RecipeError
from datasetkit.hi_scoring.comparison.bench import Ranking, selector_of
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.evaluation.predictions import evaluate
from datasetkit.hi_scoring.runs.folder import RunFolder
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.tuning import adapter_files
from datasetkit.options.heads import AdapterOptions
from tests.conftest import REPOSITORY
from tests.hi_scoring.killed import moments_tried
from tests.hi_scoring.scored import TinySubject, UnusedSubject
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tuned import bench_of, compared, contents, dialogue_of, fresh, head_scores, small, some_examples

pytestmark = pytest.mark.slow

SELECTIONS = ["top-layers:1", "random-heads:2"]
CELLS = ["random-heads-2-0--seed-0", "top-layers-1--seed-0", "untuned"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed comparison; read-only."""
    folder = tmp_path_factory.mktemp("comparisons") / "finished"
    compared(bench_of(), folder, SELECTIONS, [0])
    return folder


class StoppedError(Exception):
    """An error that nothing catches."""


def stopped_at(stage: str) -> Any:
    """Stop a comparison when it reports a stage."""

    def stop(told: str, done: int, total: int) -> None:
        if told == stage:
            raise StoppedError

    return stop


def test_cells_describe_tuning_and_measurements(finished: Path) -> None:
    found = Comparison.load(finished)
    assert sorted(path.name for path in (finished / "cells").iterdir()) == CELLS
    assert list(found.groups) == ["random-heads:2", "top-layers:1"]
    [heads], [layers] = found.groups.values()
    parameters = sum(one.numel() for one in tiny("llava").model.parameters())
    assert {cell.parameters for cell in (heads, layers, found.untuned)} == {parameters}
    assert (found.untuned.trainable, found.untuned.modules, found.untuned.selection) == (0, (), None)
    # Rank 2 for q, k, v and o of a layer, which have 448 inputs and outputs together.
    assert (layers.trainable, len(layers.modules), layers.seed) == (2 * 448, 4, 0)
    assert layers.selection == {"name": "top-layers:1", "layers": [2], "heads": None}
    drawn = selector_of(TinySubject(), Ranking(head_scores(), "hi:response")).select("random-heads:2:0")
    assert heads.selection == {
        "name": "random-heads:2:0",
        "layers": list(drawn.layers),
        "heads": [list(head) for head in drawn.heads or ()],
    }
    for cell in (found.untuned, heads, layers):
        assert {name: len(one.sample_ids) for name, one in cell.measured.items()} == {"test": 3, "forgetting": 2}
        assert {"bleu4", "rouge_l", "cider", "accuracy"} <= cell.measured["test"].statistics.keys()
    assert list(found.untuned.measured["test"].sample_ids) == ["sample-20", "sample-21", "sample-22"]


def test_untuned_cell_is_the_unchanged_model(finished: Path) -> None:
    bench = bench_of()
    expected = evaluate(fresh(), dialogue_of(), bench.tests["test"], None, bench.writing, batch=bench.batch).predictions
    written = pq.read_table(finished / "cells" / "untuned" / "predictions_test.parquet")
    assert written["prediction"].to_pylist() == expected["prediction"].tolist()


@pytest.mark.parametrize("cell", CELLS[:2])
def test_adapter_is_plain_peft_and_matches_its_cell(finished: Path, cell: str) -> None:
    folder, bench = finished / "cells" / cell, bench_of()
    loaded = PeftModel.from_pretrained(fresh(), str(folder / "adapter")).eval()
    base = fresh()
    with torch.no_grad():
        inputs = dialogue_of().encode([bench.train.image(bench.train.items[0])], [dialogue_of().prompt("what ?")], None)
        assert not torch.equal(loaded(**inputs).logits, base(**inputs).logits)
    found = evaluate(loaded, dialogue_of(), bench.tests["test"], None, bench.writing, bench.batch)
    written = pq.read_table(folder / "predictions_test.parquet")
    assert written["prediction"].to_pylist() == found.predictions["prediction"].tolist()
    [saved] = [one for runs in Comparison.load(finished).groups.values() for one in runs if one.name == cell]
    for name, rows in found.measured.statistics.items():
        np.testing.assert_array_equal(saved.measured["test"].of(name), rows)


@pytest.mark.parametrize("cell", CELLS[:2])
def test_published_files_name_no_local_path(finished: Path, cell: str, tmp_path: Path) -> None:
    adapter = finished / "cells" / cell / "adapter"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    for path in adapter.iterdir():
        text = path.read_bytes().decode("utf-8", "replace")
        for place in (str(REPOSITORY), str(finished), str(Path.home()), str(tmp_path.parent)):
            assert place not in text, path.name
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    facts = json.loads((adapter / "adapter.json").read_bytes())
    assert config["base_model_name_or_path"] == facts["model"]["id"] == "llava"
    assert config["target_modules"] == facts["modules"]
    assert facts["seed"] == 0
    assert facts["examples"] == 8
    assert "processes" not in facts
    card = (adapter / "README.md").read_text()
    assert f"{facts['trainable']:,} numbers were trained" in card
    assert card.startswith("---\nlibrary_name: peft\n")


def test_finished_run_leaves_no_temporary_files(finished: Path) -> None:
    assert not [path for path in finished.rglob("*") if "checkpoint" in path.name or path.name.endswith(".partial")]


@pytest.mark.parametrize("stage", ["top-layers-1--seed-0: training", "random-heads-2-0--seed-0: forgetting"])
def test_interrupted_comparison_gives_equal_bytes(finished: Path, tmp_path: Path, stage: str) -> None:
    with pytest.raises(StoppedError):
        compared(bench_of(), tmp_path / "out", SELECTIONS, [0], on_progress=stopped_at(stage))
    compared(bench_of(), tmp_path / "out", SELECTIONS, [0])
    assert contents(tmp_path / "out") == contents(finished)


def test_existing_adapter_is_not_trained_again(tmp_path: Path) -> None:
    """In mixed precision, which must not affect the test."""
    bench = bench_of(training=small(steps=2, mixed_precision="bf16"), adapter=AdapterOptions(dropout=0.3))
    compared(bench, tmp_path / "whole", ["all"], [0])
    with pytest.raises(StoppedError):
        compared(bench, tmp_path / "out", ["all"], [0], on_progress=stopped_at("all--seed-0: test"))
    assert (tmp_path / "out" / "cells" / "all--seed-0" / "adapter").is_dir()
    (tmp_path / "out" / "cells" / "all--seed-0" / "checkpoints").mkdir()
    compared(bench, tmp_path / "out", ["all"], [0], on_progress=stopped_at("all--seed-0: training"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not list(tmp_path.rglob("checkpoints"))


def test_killed_comparison_gives_equal_bytes(tmp_path: Path) -> None:
    """Only some of many moments; run by hand with stride 1 to try all of them."""
    assert moments_tried("tests.hi_scoring.comparison.killing", tmp_path, 60) >= 1


def test_added_seeds_and_selections_rerun_nothing(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compared(bench_of(), out, ["top-layers:1"], [0])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    stages: set[str] = set()
    found = compared(
        bench_of(), out, SELECTIONS, [0], on_progress=lambda stage, *_: stages.add(stage.partition(":")[0])
    )
    assert stages == {"random-heads-2-0--seed-0"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(finished)
    assert list(found.groups) == ["random-heads:2", "top-layers:1"]
    again = compared(replace(bench_of(), subject=UnusedSubject()), out, ["top-layers:1"], [0])
    assert list(again.groups) == list(found.groups)


def test_shards_together_equal_one_process(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert compared(bench_of(), out, SELECTIONS, [0], shard=(1, 2)) is None
    assert sorted(path.name for path in (out / "cells").iterdir()) == ["top-layers-1--seed-0"]
    found = compared(bench_of(), out, SELECTIONS, [0], shard=(0, 2))
    assert list(found.groups) == ["random-heads:2", "top-layers:1"]
    assert contents(out) == contents(finished)


def test_shards_may_start_together(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes the same note while this one writes it."""
    note = RunFolder(tmp_path, "datasetkit compare", bench_of().description())
    from datasetkit.hi_scoring.runs import folder

    real = folder.replace_file

    def raced(path: Path, data: bytes) -> None:
        real(path, data)
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(folder, "replace_file", raced)
    note.claim()
    assert note.is_ours
    (tmp_path / "run.json").unlink()
    monkeypatch.setattr(folder, "replace_file", lambda path, _: (_ for _ in ()).throw(FileNotFoundError(path)))
    with pytest.raises(FileNotFoundError):
        note.claim()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"training": small(steps=4, batch=2)}, "training.steps is 3 there, 4 here"),
        ({"adapter": AdapterOptions(rank=4)}, "adapter.rank is 2 there, 4 here"),
        ({"batch": 8}, "batch is 4 there, 8 here"),
        ({"train": some_examples(4, tasks=("vqa",))}, "examples is 8 there, 4 here"),
        ({"tests": {"test": some_examples(3, first=20)}}, 'tests.forgetting.name is "rows from 30" there, null here'),
        ({"subject": UnusedSubject(weights="b"), "ranking": None}, 'model.sha256 is "a" there, "b" here'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_results_of_other_options_are_refused_and_stay(finished: Path, changed: dict[str, Any], told: str) -> None:
    before = contents(finished)
    selections = ["all"] if "ranking" in changed else SELECTIONS
    with pytest.raises(OutputError) as error:
        compared(bench_of(**changed), finished, selections, [0])
    assert told in str(error.value)
    assert str(error.value).endswith("; give another --out, or --overwrite")
    assert contents(finished) == before


def test_launcher_processes_are_another_training(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process trains on separate batches. The folder is refused before any process waits for others."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OutputError, match="processes is null there, 2 here"):
        compared(bench_of(subject=UnusedSubject()), finished, SELECTIONS, [0])


def test_overwrite_removes_other_results(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compared(bench_of(training=small(steps=1)), out, ["all"], [3])
    compared(bench_of(), out, SELECTIONS, [0], overwrite=True)
    assert contents(out) == contents(finished)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    compared(replace(bench_of(), subject=UnusedSubject()), out, SELECTIONS, [0], overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_foreign_folders_are_never_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="holds files that `datasetkit compare` did not make"):
            compared(bench_of(subject=UnusedSubject()), tmp_path, ["all"], [0], overwrite=overwrite)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_draw_for_another_table_row_is_refused(finished: Path) -> None:
    before = contents(finished)
    with pytest.raises(OutputError, match="was run for random-heads:2, not for random-heads:2:0; select that, or give"):
        compared(bench_of(subject=UnusedSubject()), finished, ["random-heads:2:0"], [0])
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("changed", "selection", "error", "message"),
    [
        ({"adapter": AdapterOptions(method="LORAX")}, "all", RecipeError, "is called LORAX"),
        ({"adapter": AdapterOptions(method="IA3")}, "top-heads:1", RecipeError, "IA3 cannot be confined to heads"),
        ({"training": small(mixed_precision="fp16")}, "all", RecipeError, "does not work on a CPU"),
        ({"subject": UnusedSubject(device="tpu9")}, "all", ModelError, "device 'tpu9' cannot be used"),
    ],
)
def test_impossible_runs_are_refused_before_a_folder(
    tmp_path: Path, changed: dict[str, Any], selection: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compared(bench_of(**changed), tmp_path / "out", [selection], [0])
    assert not (tmp_path / "out").exists()


def test_scores_of_another_model_are_refused() -> None:
    scores = head_scores()
    for identity in (ModelIdentity("model", "other", None, "b"), ModelIdentity("model", "llava", "f00", None)):
        other = HeadScores(
            scores.values, chances={}, record_ids=["a", "b", "c"], options=scores.options, model=identity, dataset={}
        )
        with pytest.raises(RecipeError, match=r"the scores belong to .*, the model is llava \(a\); score this one"):
            selector_of(TinySubject(), Ranking(other, "hi:response"))


def test_unfinished_or_damaged_comparison_is_reported(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(BuiltFolderError, match="holds no finished comparison; run it to its end"):
        Comparison.load(tmp_path)
    compared(bench_of(), tmp_path / "out", ["top-layers:1"], [0])
    cell = tmp_path / "out" / "cells" / "top-layers-1--seed-0"
    (cell / "statistics.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        BuiltFolderError, match=r"statistics.safetensors cannot be read: .*; remove .*, and run the same command again"
    ):
        Comparison.load(tmp_path / "out")
    (cell / "cell.json").unlink()
    with pytest.raises(BuiltFolderError, match="no finished comparison"):
        Comparison.load(tmp_path / "out")


def test_adapter_is_written_atomically(finished: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(adapter_files, "_card", full)
        with pytest.raises(OSError, match="No space"):
            compared(bench_of(), tmp_path / "out", SELECTIONS, [0])
    assert not (tmp_path / "out" / "cells" / "top-layers-1--seed-0" / "adapter").exists()
    compared(bench_of(), tmp_path / "out", SELECTIONS, [0])
    assert contents(tmp_path / "out") == contents(finished)
