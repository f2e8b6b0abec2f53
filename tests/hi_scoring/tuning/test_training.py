"""Training: what changes and what does not, after any interruption, and the effect of each option."""

from __future__ import annotations

import math
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError, RecipeError
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.tuning.adapters import adapt
from datasetkit.hi_scoring.tuning.collator import TuningSet, collate
from datasetkit.hi_scoring.tuning.training import _steps_a_log, check_precision, remove_checkpoints, train
from datasetkit.options.heads import AdapterOptions, TrainingOptions
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import HEAD_WIDTH
from tests.hi_scoring.tuned import (
    HEADS,
    LAYERS,
    Tuned,
    dialogue_of,
    fresh,
    opposed_examples,
    small,
    some_examples,
    tuned,
)

pytestmark = pytest.mark.slow

STEPS = 6
OPTIONS = small(steps=STEPS, weight_decay=0.1)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return some_examples(10)


@pytest.fixture(scope="module")
def whole(examples: Examples, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tuned]:
    """Undisturbed trainings; read-only."""
    folder = tmp_path_factory.mktemp("training")
    return {
        "layers": tuned(folder / "layers", examples, LAYERS, OPTIONS, dropout=0.2),
        "heads": tuned(folder / "heads", examples, HEADS, OPTIONS, dropout=0.2),
    }


def assert_equal(found: Tuned, expected: Tuned) -> None:
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(found.weights[name], weight), name
    assert found.history == expected.history


def assert_close(found: Tuned, expected: Tuned, tolerance: float) -> None:
    for name, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[name], weight, rtol=0, atol=tolerance)


def test_only_the_adapter_changes_and_the_loss_falls(whole: dict[str, Tuned]) -> None:
    base = dict(tiny("llava").model.named_parameters())
    before = {
        name: one.detach() for name, one in adapt(fresh(), LAYERS, AdapterOptions(), seed=0).model.named_parameters()
    }
    found = whole["layers"]
    assert len(found.base) == len(base)
    for name, parameter in found.base.items():
        assert torch.equal(parameter, base[name.removeprefix("base_model.model.").replace(".base_layer", "")]), name
    assert len(found.weights) == 16
    for name, weight in found.weights.items():
        assert not torch.equal(weight, before[name]), name
    assert not any(module.training for module in found.model.modules())
    assert [log["step"] for log in found.history] == list(range(1, STEPS + 1))
    assert all(log.keys() == {"step", "epoch", "loss", "grad_norm", "learning_rate"} for log in found.history)
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_first_loss_is_that_of_the_unchanged_model(tmp_path: Path) -> None:
    """On all examples at once, so that their order does not matter."""
    examples = some_examples(3)
    found = tuned(tmp_path / "out", examples, LAYERS, small(steps=1, batch=6))
    dataset = TuningSet(examples)
    with torch.no_grad():
        loss = fresh()(**collate(dialogue_of(), [dataset[place] for place in range(6)])).loss
    assert found.history[0]["loss"] == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.parametrize(("kind", "step"), [("layers", 1), ("layers", 3), ("layers", 6), ("heads", 3)])
def test_interrupted_training_gives_equal_weights(
    examples: Examples, whole: dict[str, Tuned], tmp_path: Path, kind: str, step: int
) -> None:
    """Before any checkpoint, after one, and when the last one is due."""
    selection = {"layers": LAYERS, "heads": HEADS}[kind]

    def stop(done: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path, examples, selection, OPTIONS, dropout=0.2, on_progress=stop)
    steps: list[int] = []
    found = tuned(tmp_path, examples, selection, OPTIONS, dropout=0.2, on_progress=steps.append)
    assert steps == list(range((step - 1) // 2 * 2 + 1, STEPS + 1))
    assert_equal(found, whole[kind])


@pytest.mark.parametrize("state", ['{"global_step": 6, "lo', None])
def test_incomplete_checkpoint_is_ignored(
    examples: Examples, whole: dict[str, Tuned], tmp_path: Path, state: str | None
) -> None:
    def stop(done: int) -> None:
        if done == STEPS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path, examples, LAYERS, OPTIONS, dropout=0.2, on_progress=stop)
    cut = tmp_path / "checkpoints" / "checkpoint-6"
    cut.mkdir()
    (cut / "adapter_model.safetensors").write_bytes(b"cut")
    if state is not None:
        (cut / "trainer_state.json").write_text(state)
    steps: list[int] = []
    assert_equal(tuned(tmp_path, examples, LAYERS, OPTIONS, dropout=0.2, on_progress=steps.append), whole["layers"])
    assert steps == [5, 6]


def test_finished_training_is_not_continued(examples: Examples, whole: dict[str, Tuned], tmp_path: Path) -> None:
    tuned(tmp_path, examples, HEADS, OPTIONS, dropout=0.2)
    steps: list[int] = []
    again = tuned(tmp_path, examples, HEADS, OPTIONS, dropout=0.2, on_progress=steps.append)
    assert not steps
    assert_equal(again, whole["heads"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "training.jsonl"]
    remove_checkpoints(tmp_path)
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["training.jsonl"]


def test_heads_stay_in_their_slices(whole: dict[str, Tuned]) -> None:
    """By the shapes of the tiny model: H = 4 heads of width 16, two per group."""
    weights = whole["heads"].weights
    for layer, heads, groups in ((1, [0], []), (2, [2, 3], [1])):
        for target, kept in (("q_proj", heads), ("k_proj", groups), ("v_proj", groups), ("o_proj", heads)):
            factor, axis = ("lora_A", 1) if target == "o_proj" else ("lora_B", 0)
            names = [name for name in weights if f"layers.{layer}.self_attn.{target}.{factor}." in name]
            assert len(names) == bool(kept)
            for name in names:
                assert changed(weights[name], axis) == kept, name


def changed(factor: Tensor, axis: int) -> list[int]:
    """Indices of the heads whose part of a factor is not zero."""
    norms = factor.abs().sum(1 - axis)
    return [number for number, part in enumerate(norms.split(HEAD_WIDTH)) if part.any()]


def test_global_random_state_is_unused_and_restored(
    examples: Examples, whole: dict[str, Tuned], tmp_path: Path
) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert_equal(tuned(tmp_path, examples, LAYERS, OPTIONS, dropout=0.2), whole["layers"])
    assert (random.random(), np.random.random(), torch.rand(1)) == expected  # noqa: NPY002


def test_seed_changes_order_and_dropout(examples: Examples, tmp_path: Path) -> None:
    losses = [
        tuned(tmp_path / str(seed), examples, LAYERS, small(steps=2), seed=seed).history[0]["loss"] for seed in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_accumulated_batches_equal_one_large_batch(examples: Examples, tmp_path: Path) -> None:
    """In float64, since AdamW takes equally large steps for gradients that are only rounding errors."""
    large = tuned(tmp_path / "large", examples, LAYERS, small(batch=8, steps=2), model=fresh().double())
    options = small(batch=4, accumulate=2, steps=2)
    accumulated = tuned(tmp_path / "small", examples, LAYERS, options, model=fresh().double())
    assert_close(accumulated, large, 1e-9)
    assert accumulated.history[0]["loss"] == pytest.approx(large.history[0]["loss"], abs=1e-5)


def test_gradient_checkpointing_changes_nothing(examples: Examples, tmp_path: Path) -> None:
    found, calls = [], []
    for twice in (False, True):
        model = fresh()
        computed: list[object] = []
        mlp = model.get_decoder().layers[1].mlp
        mlp.register_forward_pre_hook(lambda *call, computed=computed: computed.append(call))
        options = small(steps=2, gradient_checkpointing=twice)
        found.append(tuned(tmp_path / str(twice), examples, LAYERS, options, model=model))
        calls.append(len(computed))
    assert calls == [2, 4]
    assert_close(found[1], found[0], 1e-6)


def test_gradient_checkpointing_does_not_warn(
    examples: Examples, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = adapt(fresh(), LAYERS, AdapterOptions(), 0).model
    recwarn.clear()
    train(model, dialogue_of(), examples, None, small(steps=1, gradient_checkpointing=True), 0, tmp_path)
    assert not [str(one.message) for one in recwarn if issubclass(one.category, FutureWarning)]


def test_mixed_precision_trains_an_adapter_in_float32(examples: Examples, tmp_path: Path) -> None:
    plain = tuned(tmp_path / "plain", examples, LAYERS, small(steps=2))
    found = tuned(tmp_path / "mixed", examples, LAYERS, small(steps=2, mixed_precision="bf16"))
    assert {weight.dtype for weight in found.weights.values()} == {torch.float32}
    assert all(math.isfinite(log["loss"]) for log in found.history)
    assert 0 < abs(found.history[0]["loss"] - plain.history[0]["loss"]) < 0.05


def test_a_cpu_does_not_train_in_fp16() -> None:
    with pytest.raises(RecipeError, match="--mixed-precision fp16 does not work on a CPU; give bf16 or no"):
        check_precision(small(mixed_precision="fp16"), "cpu")
    check_precision(small(mixed_precision="fp16"), "cuda")
    check_precision(small(mixed_precision="bf16"), "cpu")


@pytest.fixture(scope="module")
def early(examples: Examples, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A training that stops early; read-only."""
    return tuned(tmp_path_factory.mktemp("early"), examples, LAYERS, stopping(), validation=opposed_examples())


def stopping(**more: Any) -> TrainingOptions:
    return small(**{"steps": 20, "learning_rate": 5e-2, "schedule": "constant_with_warmup", "patience": 2} | more)


def eval_losses(found: Tuned) -> dict[int, float]:
    return {log["step"]: log["eval_loss"] for log in found.history if "eval_loss" in log}


def test_worsening_training_stops_and_keeps_the_best(examples: Examples, early: Tuned, tmp_path: Path) -> None:
    losses = eval_losses(early)
    best = min(losses, key=losses.__getitem__)
    assert list(losses) == list(range(2, best + 2 * 2 + 1, 2))
    assert max(losses) < 20
    until = tuned(tmp_path, examples, LAYERS, stopping(steps=best, patience=None))
    for name, weight in until.weights.items():
        assert torch.equal(early.weights[name], weight), name


def test_the_best_may_be_the_last(examples: Examples, tmp_path: Path) -> None:
    found = tuned(tmp_path, examples, LAYERS, small(steps=3, patience=1), validation=examples)
    losses = eval_losses(found)
    assert list(losses) == [2, 3]
    assert losses[3] < losses[2]
    assert_close(found, tuned(tmp_path / "plain", examples, LAYERS, small(steps=3)), 0)


@pytest.mark.parametrize("after_best", [3, None])
def test_patience_and_best_survive_interruptions(
    examples: Examples, early: Tuned, tmp_path: Path, after_best: int | None
) -> None:
    """Within the patience, and at the end."""
    losses = eval_losses(early)
    best = min(losses, key=losses.__getitem__)

    def stop(done: int) -> None:
        if after_best and done == best + after_best:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if after_best else nullcontext():
        tuned(tmp_path, examples, LAYERS, stopping(), validation=opposed_examples(), on_progress=stop)
    assert_equal(tuned(tmp_path, examples, LAYERS, stopping(), validation=opposed_examples()), early)


def test_nan_loss_ends_the_training(examples: Examples, tmp_path: Path) -> None:
    model = fresh()
    with torch.no_grad():
        model.get_output_embeddings().weight[7] = math.nan
    with pytest.raises(ModelError, match="the loss is nan after 1 steps; lower --learning-rate, or train in another"):
        tuned(tmp_path, examples, LAYERS, small(), model=model)


@pytest.mark.parametrize(
    ("steps", "save_every", "expected"),
    [(1, 100, 1), (199, 100, 1), (500, 100, 5), (700, 100, 5), (1000, 7, 7), (1000, 13, 1), (10**5, 30, 30)],
)
def test_logs_coincide_with_checkpoints(steps: int, save_every: int, expected: int) -> None:
    assert _steps_a_log(small(steps=steps, save_every=save_every)) == expected


def test_mean_losses_survive_interruptions(examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.hi_scoring.tuning.training._LOGS", 2)

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    expected = tuned(tmp_path / "whole", examples, LAYERS, OPTIONS).history
    assert [log["step"] for log in expected] == [2, 4, 6]
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "out", examples, LAYERS, OPTIONS, on_progress=stop)
    assert tuned(tmp_path / "out", examples, LAYERS, OPTIONS).history == expected
