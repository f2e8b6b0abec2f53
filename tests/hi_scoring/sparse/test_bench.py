"""Whole runs of sparse prefill: what is measured, what lies in the folder, and going on after an interruption."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from datasetkit.errors import BuiltFolderError, OutputError
from hi_scoring.model.dialogue import Dialogue
from hi_scoring.model.writing import on_device
from hi_scoring.sparse import SparsePlan, sparsify
from hi_scoring.sparse.bench import Bench, Sparsity
from hi_scoring.sparse.measure import MEASURES, compare_prefills
from hi_scoring.sparse.results import FACTS_NAME, load_condition
from hi_scoring.sparse.terminal import sparsity_tables
from tests.hi_scoring.sparse.measured import bench_of, conditions
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import LAYERS
from tests.hi_scoring.tuned import some_examples


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sparsity]:
    """A run that nothing disturbed; nobody changes it."""
    folder = tmp_path_factory.mktemp("sparse") / "run"
    return folder, bench_of().run(conditions(), folder)


def logs_of(number: int, plan: SparsePlan | None) -> torch.Tensor:
    """Log-probabilities of the first token that follows an example's prompt, by one forward pass."""
    family, examples = tiny("llava"), some_examples(3)
    dialogue = Dialogue(family.processor, family.model.config)
    example = examples.items[number]
    encoded = dialogue.encode([examples.picture(example)], [dialogue.prompt(example.prompt)], None)
    inputs = on_device(encoded, family.model)
    with torch.no_grad():
        if plan is None:
            return family.model(**inputs).logits[0, -1].log_softmax(-1)
        with sparsify(family.model, plan):
            return family.model(**inputs).logits[0, -1].log_softmax(-1)


def test_prefills_are_compared_prompt_by_prompt() -> None:
    family, examples = tiny("llava"), some_examples(3)
    plan = conditions()[1].plan
    done: list[int] = []
    dialogue = Dialogue(family.processor, family.model.config)
    found = compare_prefills(family.model, family.processor, dialogue, examples, plan, on_progress=done.append)
    table = found.table
    assert list(table.columns) == ["record_id", "task", *MEASURES]
    assert done == [1, 2, 3, 4, 5, 6]
    assert table["task"].tolist() == ["caption", "vqa"] * 3
    for number in range(len(table)):
        dense, sparse = logs_of(number, None), logs_of(number, plan)
        expected = torch.nn.functional.kl_div(sparse, dense, reduction="sum", log_target=True)
        assert expected > 0.001
        assert table["kl"][number] == pytest.approx(float(expected), rel=1e-3)
        assert table["same_token"][number] == float(dense.argmax() == sparse.argmax())
    assert (table[["seconds_dense", "seconds"]] > 0).all(axis=None)
    # A tiny model's needs are too small to be seen.
    assert table[["peak_dense", "peak"]].isna().all(axis=None)
    assert found.coverage.sparse == len(table) * LAYERS
    assert found.coverage.dense.total() == 0


def test_the_dense_model_beside_itself_is_itself() -> None:
    family, examples = tiny("llava"), some_examples(1)
    dialogue = Dialogue(family.processor, family.model.config)
    found = compare_prefills(family.model, family.processor, dialogue, examples, None)
    assert found.table["kl"].tolist() == [0.0, 0.0]
    assert found.table["same_token"].tolist() == [1.0, 1.0]
    assert np.isnan(found.coverage.share)


def test_a_prompt_that_does_not_fit_is_not_measured() -> None:
    family, examples = tiny("llava"), some_examples(2)
    model = copy.deepcopy(family.model)
    dialogue = Dialogue(family.processor, model.config)
    generate, asked = model.generate, []

    def generate_or_fail(**options: object) -> object:
        asked.append(options)
        # Two passes warm up; then the first of the second prompt's.
        if len(asked) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(**options)

    model.generate = generate_or_fail
    table = compare_prefills(model, family.processor, dialogue, examples, conditions()[1].plan).table
    assert table["kl"].isna().tolist() == [False, True, False, False]
    assert table["record_id"].notna().all()
    assert model.get_decoder().config._attn_implementation == "sdpa"


def test_a_run_leaves_a_plan_tables_and_each_conditions_results(finished: tuple[Path, Sparsity]) -> None:
    folder, found = finished
    assert list(found.groups) == ["dense", "core", "random"]
    assert [result.draw for result in found.groups["random"]] == [0, 1]
    assert SparsePlan.load(folder) == found.plan == conditions()[1].plan
    assert sorted(path.name for path in folder.iterdir()) == [
        *("conditions", "costs.parquet", "plan.json", "quality.parquet", "run.json")
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


def test_changes_are_those_of_the_figures(finished: tuple[Path, Sparsity]) -> None:
    quality = finished[1].quality.set_index(["metric", "group", "against"])
    for metric in ("rouge_l", "accuracy"):
        figure, change = quality["figure"][metric], quality["change"][metric]
        dense = figure["dense", "dense"]
        assert change["core", "dense"] == pytest.approx(figure["core", "dense"] - dense)
        assert change["core", "random"] == pytest.approx(figure["core", "dense"] - figure["random", "dense"])
    assert quality["p_holm"].dropna().between(0, 1).all()


def test_what_a_condition_says_is_what_the_sparse_model_says(finished: tuple[Path, Sparsity]) -> None:
    """The texts differ from the dense model's: the plan was on it while it wrote."""
    said = [pd.read_parquet(finished[0] / "conditions" / name / "predictions.parquet") for name in ("dense", "core")]
    assert said[0]["reference"].tolist() == said[1]["reference"].tolist()
    assert said[0]["prediction"].tolist() != said[1]["prediction"].tolist()
    assert tiny("llava").model.get_decoder().config._attn_implementation == "sdpa"


def test_tables_of_the_terminal_hold_every_group(finished: tuple[Path, Sparsity]) -> None:
    costs, quality = sparsity_tables(finished[1])
    assert list(costs.columns[0].cells) == ["dense", "core", "random (2)"]
    assert list(costs.columns[-1].cells) == ["-", "100 %", "100 %"]
    labels = [label for label in quality.columns[0].cells if label]
    assert labels == ["BLEU-4", "ROUGE-L", "CIDEr", "Right answers"]


def test_what_stayed_dense_is_told(tmp_path: Path) -> None:
    found = bench_of(examples=some_examples(1)).run(conditions(draws=1, dense_above=0.01), tmp_path / "run")
    costs, _, dense = sparsity_tables(found)
    assert list(costs.columns[-1].cells) == ["-", "0 %", "0 %"]
    assert list(dense.columns[0].cells) == ["8"]
    assert str(dense.title) == "layers of prompts that stayed dense, of 8"
    assert found.costs["kl"].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_run_goes_on_where_it_was_and_grows_by_draws(finished: tuple[Path, Sparsity], tmp_path: Path) -> None:
    bench, folder = bench_of(), tmp_path / "run"
    stages: list[str] = []

    def interrupt(stage: str, *_: int) -> None:
        stages.append(stage)
        if stage == "random-0: texts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(conditions(), folder, on_progress=interrupt)
    assert not (folder / "conditions" / "random-0").exists()
    stages.clear()
    found = bench.run(conditions(draws=3), folder, on_progress=lambda stage, *_: stages.append(stage))
    begun = list(dict.fromkeys(stage.partition(":")[0] for stage in stages))
    assert begun == ["random-0", "random-1", "random-2"]
    assert len(found.groups["random"]) == 3
    # All but the times is what an undisturbed run measures.
    columns = ["metric", "group", "against", "figure"]
    same = found.quality[found.quality["group"] != "random"][columns].reset_index(drop=True)
    expected = finished[1].quality
    pd.testing.assert_frame_equal(same, expected[expected["group"] != "random"][columns].reset_index(drop=True))


def test_results_of_others_are_refused_or_give_way(tmp_path: Path) -> None:
    def run(bench: Bench, *, overwrite: bool = False) -> Sparsity:
        return bench.run(conditions(draws=1), tmp_path / "run", overwrite=overwrite)

    one = bench_of(examples=some_examples(1))
    run(one)
    other = bench_of(examples=some_examples(2))
    with pytest.raises(OutputError, match=r"holds other results: data\.rows is 1 there, 2 here; examples is 2 there"):
        run(other)
    found = run(other, overwrite=True)
    assert found.costs["n"].tolist() == [4, 4, 4]


def test_unfinished_and_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuiltFolderError, match="holds no finished run of `datasetkit sparsify`"):
        Sparsity.load(tmp_path)
    folder = tmp_path / "core"
    folder.mkdir()
    (folder / FACTS_NAME).write_text(json.dumps({"samples": []}))
    with pytest.raises(BuiltFolderError, match="holds no finished condition"):
        load_condition(folder)
