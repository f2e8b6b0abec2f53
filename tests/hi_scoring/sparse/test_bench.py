"""Whole runs of sparse prefill: measurements, files, and resumption after an interruption."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from datasetkit.core.errors import BuiltFolderError, OutputError
from datasetkit.hi_scoring.sparse import SparsePlan
from datasetkit.hi_scoring.sparse.bench import Bench
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.hi_scoring.sparse.results import FACTS_NAME, load_condition
from tests.hi_scoring.scored import TinySubject
from tests.hi_scoring.sparse.measured import bench_of, conditions, head_scores
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tuned import some_examples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sparsity]:
    """An undisturbed run; read-only."""
    folder = tmp_path_factory.mktemp("sparse") / "run"
    return folder, bench_of().run(conditions(), folder)


def test_run_leaves_plan_tables_and_results(finished: tuple[Path, Sparsity]) -> None:
    folder, found = finished
    assert list(found.groups) == ["dense", "core", "random"]
    assert [result.draw for result in found.groups["random"]] == [0, 1]
    assert SparsePlan.load(folder) == found.plan == conditions()[1].plan
    assert sorted(path.name for path in folder.iterdir()) == [
        *("conditions", "costs.parquet", "finished.json", "plan.json", "quality.parquet", "run.json")
    ]
    assert sorted(path.name for path in (folder / "conditions" / "random-1").iterdir()) == [
        *(FACTS_NAME, "plan.json", "predictions.parquet", "prefills.parquet", "statistics.safetensors")
    ]
    costs = pd.read_parquet(folder / "costs.parquet").set_index("group")
    assert costs["runs"].to_dict() == {"dense": 1, "core": 1, "random": 2}
    assert costs["kl"]["dense"] == 0 < costs["kl"]["core"]
    assert costs["sparse"].fillna(-1).to_dict() == {"dense": -1, "core": 1, "random": 1}
    core = load_condition(folder / "conditions" / "core").prefills
    assert costs["speedup"]["core"] == pytest.approx((core["seconds_dense"] / core["seconds"]).median())
    assert costs["kl"]["core"] == pytest.approx(core["kl"].mean())
    assert costs["kl_low"]["core"] <= costs["kl"]["core"] <= costs["kl_high"]["core"]
    quality = pd.read_parquet(folder / "quality.parquet")
    pairs = quality[quality["metric"] == "accuracy"][["group", "against"]].to_numpy().tolist()
    assert pairs == [["dense", "dense"], ["core", "dense"], ["random", "dense"], ["core", "random"]]
    assert {"bleu4", "cider", "accuracy", "accuracy:colour"} <= set(quality["metric"])


def test_changes_follow_from_figures(finished: tuple[Path, Sparsity]) -> None:
    quality = finished[1].quality.set_index(["metric", "group", "against"])
    for metric in ("rouge_l", "accuracy"):
        figure, change = quality["figure"][metric], quality["change"][metric]
        dense = figure["dense", "dense"]
        assert change["core", "dense"] == pytest.approx(figure["core", "dense"] - dense)
        assert change["core", "random"] == pytest.approx(figure["core", "dense"] - figure["random", "dense"])
    assert quality["p_holm"].dropna().between(0, 1).all()


def test_predictions_are_those_of_the_sparse_model(finished: tuple[Path, Sparsity]) -> None:
    """The texts differ from the dense model's, since the plan was applied during generation."""
    said = [pd.read_parquet(finished[0] / "conditions" / name / "predictions.parquet") for name in ("dense", "core")]
    assert said[0]["reference"].tolist() == said[1]["reference"].tolist()
    assert said[0]["prediction"].tolist() != said[1]["prediction"].tolist()
    assert tiny("llava").model.get_decoder().config._attn_implementation == "sdpa"


class Interrupting:
    """Ends a run at the first report of a stage, like Ctrl-C; records what was started before."""

    def __init__(self, stage: str = "") -> None:
        self._stage = stage
        self.stages: list[str] = []

    def __call__(self, stage: str, *_: int) -> None:
        self.stages.append(stage)
        if stage == self._stage:
            raise KeyboardInterrupt

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(stage.partition(":")[0] for stage in self.stages))


def test_run_resumes_and_grows_by_draws(finished: tuple[Path, Sparsity], tmp_path: Path) -> None:
    bench, folder = bench_of(), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        bench.run(conditions(), folder, on_progress=Interrupting("random-0: texts"))
    assert not (folder / "conditions" / "random-0").exists()
    going_on = Interrupting()
    found = bench.run(conditions(draws=3), folder, on_progress=going_on)
    assert going_on.conditions == ["random-0", "random-1", "random-2"]
    assert len(found.groups["random"]) == 3
    # Everything except times equals an undisturbed run.
    columns = ["metric", "group", "against", "figure"]
    same = found.quality[found.quality["group"] != "random"][columns].reset_index(drop=True)
    expected = finished[1].quality
    pd.testing.assert_frame_equal(same, expected[expected["group"] != "random"][columns].reset_index(drop=True))
    # Fewer draws keep the existing ones.
    assert len(bench.run(conditions(draws=1), folder).groups["random"]) == 3
    assert len(Sparsity.load(folder).groups["random"]) == 3


@pytest.mark.parametrize("stage", ["core: first tokens", "random-0: first tokens", "random-1: texts"])
def test_interrupted_conditions_do_not_count(stage: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench_of(examples=some_examples(1)).run(conditions(), tmp_path / "run", on_progress=Interrupting(stage))
    with pytest.raises(BuiltFolderError, match="holds no finished run of `datasetkit sparsify`"):
        Sparsity.load(tmp_path / "run")
    # The plan is only written once everything is measured.
    assert not (tmp_path / "run" / "plan.json").exists()


def test_interrupted_growth_keeps_finished_results(tmp_path: Path) -> None:
    bench, folder = bench_of(examples=some_examples(1)), tmp_path / "run"
    bench.run(conditions(draws=1), folder)
    with pytest.raises(KeyboardInterrupt):
        bench.run(conditions(draws=3), folder, on_progress=Interrupting("random-2: texts"))
    assert (folder / "conditions" / "random-1").exists()
    assert [one.draw for one in Sparsity.load(folder).groups["random"]] == [0]


def test_other_results_are_refused_or_replaced(tmp_path: Path) -> None:
    def run(bench: Bench, *, overwrite: bool = False) -> Sparsity:
        return bench.run(conditions(draws=1), tmp_path / "run", overwrite=overwrite)

    one = bench_of(examples=some_examples(1))
    run(one)
    other = bench_of(examples=some_examples(2))
    with pytest.raises(OutputError, match=r"holds other results: data\.rows is 1 there, 2 here; examples is 2 there"):
        run(other)
    found = run(other, overwrite=True)
    assert found.costs["n"].tolist() == [4, 4, 4]


def test_other_core_heads_are_other_results(tmp_path: Path) -> None:
    """For example scores that another version computed from the same data with the same options."""
    folder, examples = tmp_path / "run", some_examples(1)
    first, second = head_scores(), head_scores(last_first=True)
    assert second.source == first.source
    benches = [bench_of(examples=examples, scores=scores) for scores in (first, second)]
    assert benches[0].description() == benches[1].description()
    benches[0].run(conditions(draws=1, scores=first), folder)
    with pytest.raises(OutputError, match=r"holds other results: kept\.0 is \[0\] there, \[3\] here"):
        benches[1].run(conditions(draws=1, scores=second), folder)
    found = benches[1].run(conditions(draws=1, scores=second), folder, overwrite=True)
    kept = ((3,), (3,), (3,), (3,))
    assert found.plan.full_heads == SparsePlan.load(folder / "conditions" / "core").full_heads == kept
    assert SparsePlan.load(folder).full_heads == kept


def test_replaced_results_are_removed_before_measuring(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    bench_of(examples=some_examples(1)).run(conditions(draws=1), folder)
    with pytest.raises(KeyboardInterrupt):
        bench_of(examples=some_examples(2)).run(
            conditions(draws=1), folder, overwrite=True, on_progress=Interrupting("dense: first tokens")
        )
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_times_belong_to_one_machine() -> None:
    description = bench_of(subject=TinySubject(device="cpu")).description()
    assert description["machine"] == f"cpu, threads: {torch.get_num_threads()}"
    assert description["kernel"] == "blocks"


def test_prompts_hiding_little_equal_the_dense_model(tmp_path: Path) -> None:
    found = bench_of(examples=some_examples(1)).run(conditions(draws=1, dense_above=0.01), tmp_path / "run")
    assert found.costs["kl"].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert found.costs["sparse"].fillna(-1).tolist() == [-1, 0, 0]
