"""Comparison of prefills: measurements of a prompt, warm-up, and prompts that cannot be measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import on_device
from datasetkit.hi_scoring.sparse import SparsePlan, measure, sparsify
from datasetkit.hi_scoring.sparse.blocks import BlockAttention
from datasetkit.hi_scoring.sparse.measure import MEASURES, Prefills, compare_prefills, divergence
from tests.hi_scoring.sparse.measured import conditions
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import LAYERS
from tests.hi_scoring.tuned import some_examples
from tests.precision import TOLERANCE

PLAN = conditions()[1].plan


def compared(examples: Examples, plan: SparsePlan | None = PLAN, model: Any = None, **options: Any) -> Prefills:
    family = tiny("llava")
    model = model or family.model
    return compare_prefills(model, Dialogue(family.processor, model.config), examples, plan, **options)


def watched(before: Callable[[int], None]) -> tuple[Any, list[dict[str, Any]]]:
    """A model that records its inputs, after calling ``before`` with the number of the call, from 1."""
    model = copy.deepcopy(tiny("llava").model)
    generate, asked = model.generate, []

    def generate_after(**options: Any) -> Any:
        asked.append(options)
        before(len(asked))
        return generate(**options)

    model.generate = generate_after
    return model, asked


def logs_of(number: int, plan: SparsePlan | None) -> torch.Tensor:
    """Log-probabilities of the first token that follows an example's prompt, by one forward pass."""
    family, examples = tiny("llava"), some_examples(3)
    dialogue = Dialogue(family.processor, family.model.config)
    example = examples.items[number]
    encoded = dialogue.encode([examples.image(example)], [dialogue.prompt(example.prompt)], None)
    inputs = on_device(encoded, family.model)
    with torch.no_grad():
        if plan is None:
            return family.model(**inputs).logits[0, -1].log_softmax(-1)
        with sparsify(family.model, plan):
            return family.model(**inputs).logits[0, -1].log_softmax(-1)


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_prefills_are_compared_per_prompt() -> None:
    done: list[int] = []
    examples = some_examples(3)
    found = compared(examples, on_progress=done.append)
    table = found.table
    assert list(table.columns) == ["picture_id", "record_id", "task", *MEASURES]
    assert done == [1, 2, 3, 4, 5, 6]
    assert table["task"].tolist() == ["caption", "vqa"] * 3
    assert table["picture_id"].tolist() == [examples.image_id(example) for example in examples.items]
    for number in range(len(table)):
        dense, sparse = logs_of(number, None), logs_of(number, PLAN)
        expected = torch.nn.functional.kl_div(sparse, dense, reduction="sum", log_target=True)
        assert expected > 0.001
        assert table["kl"][number] == pytest.approx(float(expected), rel=TOLERANCE)
        assert table["same_token"][number] == float(dense.argmax() == sparse.argmax())
    assert (table[["seconds_dense", "seconds"]] > 0).all(axis=None)
    # A tiny model's memory is too small to be measured.
    assert table[["peak_dense", "peak"]].isna().all(axis=None)
    assert found.coverage.sparse == len(table) * LAYERS
    assert found.coverage.dense.total() == 0


def test_dense_model_equals_itself() -> None:
    found = compared(some_examples(1), None)
    assert found.table["kl"].tolist() == [0.0, 0.0]
    assert found.table["same_token"].tolist() == [1.0, 1.0]
    assert np.isnan(found.coverage.share)


@pytest.mark.parametrize(
    ("failing", "lost"),
    [
        # Two passes warm up, then come the first prompt's two.
        (1, [True, False, False, False]),
        (2, [True, False, False, False]),
        (4, [True, False, False, False]),
        (5, [False, True, False, False]),
        (6, [False, True, False, False]),
    ],
)
def test_prompt_that_does_not_fit_is_not_counted(failing: int, lost: list[bool]) -> None:
    def run_out(call: int) -> None:
        if call == failing:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model, asked = watched(run_out)
    found = compared(some_examples(2), model=model)
    assert found.table["kl"].isna().tolist() == lost
    assert found.table["record_id"].notna().all()
    assert found.coverage.sparse == 3 * LAYERS
    # If the first prompt did not fit, the second one warms up.
    assert len(asked) == {1: 9, 2: 10, 4: 10, 5: 9, 6: 10}[failing]
    assert model.get_decoder().config._attn_implementation == "sdpa"


def test_each_size_of_prompt_is_warmed_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of one length have one size here; a caption's prompt differs in length from a question's."""
    monkeypatch.setattr(measure, "size_of", lambda _, prompt: (prompt.length,))
    model, asked = watched(lambda _: None)
    compared(some_examples(3, tasks=("caption",)), model=model)
    assert len(asked) == 2 + 3 * 2
    asked.clear()
    table = compared(some_examples(3), model=model).table
    lengths = table["tokens"].nunique()
    assert lengths > 1
    assert len(asked) == 2 * lengths + 6 * 2


@pytest.mark.parametrize("broken", ["dense", "sparse"])
def test_nan_logits_are_refused(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(tiny("llava").model)
    if broken == "dense":
        model.get_output_embeddings().weight.data[3] = torch.nan
    else:
        attend = BlockAttention.attend
        monkeypatch.setattr(BlockAttention, "attend", lambda self, *parts: attend(self, *parts) * torch.nan)
    with pytest.raises(
        ModelError, match=f"the {broken} model's logits after the prompt of .* are not all numbers, in fl"
    ):
        compared(some_examples(1), model=model)


@pytest.mark.parametrize(
    ("dense", "sparse", "expected"),
    [
        ([0.5, 0.5, 0.0], [0.25, 0.75, 0.0], 0.5 * np.log(2) + 0.5 * np.log(2 / 3)),
        ([0.5, 0.5, 0.0], [0.5, 0.25, 0.25], 0.5 * np.log(2)),
        ([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], np.inf),
        ([0.5, 0.5, 0.0], [np.nan, 0.5, 0.5], np.nan),
        ([np.nan, 0.5, 0.5], [0.5, 0.5, 0.0], np.nan),
        ([np.nan, np.nan, np.nan], [np.nan, np.nan, np.nan], np.nan),
    ],
)
def test_divergence(dense: list[float], sparse: list[float], expected: float) -> None:
    assert divergence(*(torch.tensor(one).log() for one in (dense, sparse))) == pytest.approx(expected, nan_ok=True)
