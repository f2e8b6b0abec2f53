from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import render
from datasetkit.toyworld.scenes import HELD_OUT, Split
from tools.toyworld.models.detector import build_detector, detector_processor
from tools.toyworld.models.segmenter import build_segmenter, segmenter_processor
from tools.toyworld.models.vlm import build_vlm, vlm_processor
from tools.toyworld.training.blocks import block_logits, encode_block, image_prefix
from tools.toyworld.training.data import COLOURS, SHAPES, SceneStore, dense_targets, normalised
from tools.toyworld.training.detector import BoxTask, varied_prompt
from tools.toyworld.training.loop import Run, Schedule, Task, train_stage
from tools.toyworld.training.muon import orthogonal
from tools.toyworld.training.segmenter import SegmenterTask
from tools.toyworld.training.set_loss import Targets, giou, set_loss
from tools.toyworld.training.vlm import TextTask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return SceneStore(tmp_path_factory.mktemp("scenes"), Split.TRAIN, 40)


def make_task(name: str, store: SceneStore) -> Task:
    torch.manual_seed(0)
    if name == "segmenter":
        return SegmenterTask(build_segmenter(), segmenter_processor(), store, store)
    if name == "detector":
        processor = detector_processor()
        return BoxTask(build_detector(processor), processor, store, store)
    processor = vlm_processor()
    return TextTask(
        build_vlm(processor), processor, store, store, lambda batch: normalised(batch.pixels, [0.5] * 3, [0.25] * 3)
    )


class SameBatch:
    """A task that draws the same batch at every step and remembers its losses."""

    def __init__(self, task: Task) -> None:
        self.module = task.module
        self._task = task
        self.totals: list[float] = []

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:
        losses = self._task.losses(Random(7), 10_000)
        self.totals.append(float(sum(value.detach() for value in losses.values())))
        return losses

    def evaluate(self) -> Mapping[str, float]:
        return {}


@pytest.mark.parametrize("name", ["detector", "segmenter", "vlm"])
def test_a_step_lowers_the_loss_of_its_batch(name: str, store: SceneStore, tmp_path: Path) -> None:
    task = SameBatch(make_task(name, store))
    schedule = Schedule(steps=2, learning_rate=3e-4, warm_up=1, decay=0.01)
    train_stage("test", task, schedule, Run(tmp_path, evaluate_every=0))
    assert task.totals[1] < task.totals[0]


class Stopping:
    """A task that is interrupted before it has drawn a step's batch."""

    def __init__(self, task: Task, at: int) -> None:
        self.module = task.module
        self._task = task
        self._at = at

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:
        if step == self._at:
            raise KeyboardInterrupt
        return self._task.losses(rng, step)

    def evaluate(self) -> Mapping[str, float]:
        return {}


def test_an_interrupted_run_ends_as_an_uninterrupted_one(store: SceneStore, tmp_path: Path) -> None:
    schedule = Schedule(steps=5, learning_rate=1e-3, warm_up=2)
    whole = make_task("segmenter", store)
    train_stage("test", whole, schedule, Run(tmp_path / "whole", evaluate_every=0))

    run = Run(tmp_path / "parts", save_every=2, evaluate_every=0)
    with pytest.raises(KeyboardInterrupt):
        train_stage("test", Stopping(make_task("segmenter", store), 3), schedule, run)
    # The process is gone, and with it the step after the last checkpoint.
    torch.manual_seed(99)
    resumed = SegmenterTask(build_segmenter(), segmenter_processor(), store, store)
    train_stage("test", resumed, schedule, run)

    expected = whole.module.state_dict()
    for name, values in resumed.module.state_dict().items():
        assert torch.equal(values, expected[name]), name


def test_the_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warm_up=10, decay=0.5)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[9:51]) == {1.0}
    assert factors[75] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.02)


def test_the_store_gives_what_is_rendered_also_from_its_files(store: SceneStore, tmp_path: Path) -> None:
    first = SceneStore(tmp_path, Split.TRAIN, 3).arrays(2)
    again = SceneStore(tmp_path, Split.TRAIN, 3)
    pixels, labels = again.arrays(2)
    scene = again.scene(2)
    np.testing.assert_array_equal(first[0], render(scene))
    np.testing.assert_array_equal(pixels, render(scene))
    np.testing.assert_array_equal(labels == 1, visible_masks(scene)[0])
    assert labels.max() == len(scene.objects)


def test_training_contains_no_held_out_combination(store: SceneStore) -> None:
    words = {f"{colour.value} {shape.value}" for colour, shape in HELD_OUT}
    for index in range(store.count):
        scene = store.scene(index)
        assert not any(item.is_held_out for item in scene.objects)
        prompt = varied_prompt(scene, Random(index))
        assert not any(phrase.endswith(word) for phrase in prompt.phrases for word in words)


def test_cells_are_told_what_fills_them(store: SceneStore) -> None:
    batch = store.batch([0, 1])
    targets = dense_targets(batch, 8)
    assert targets.classes.shape == (2, 3, 8, 8)
    for row, scene in enumerate(batch.scenes):
        for index, item in enumerate(scene.objects):
            cells = targets.ids[row] == index
            assert cells.any()
            assert set(targets.classes[row, 0][cells].tolist()) == {SHAPES.index(item.shape)}
            assert set(targets.classes[row, 1][cells].tolist()) == {COLOURS.index(item.colour)}
            torch.testing.assert_close(targets.places[row, 0][cells].unique(), torch.tensor([item.x / 128]))
        assert (targets.present[row] == (targets.ids[row] >= 0)).all()


def test_texts_that_share_a_image_get_the_logits_of_texts_alone(store: SceneStore) -> None:
    torch.manual_seed(0)
    processor = vlm_processor()
    model = build_vlm(processor).eval()
    pixels = normalised(store.batch([0, 1]).pixels, [0.5] * 3, [0.25] * 3)
    blocks = [
        encode_block(processor.tokenizer, row, prompt, answer)
        for row, prompt, answer in [
            (1, "Is there a star?", "yes"),
            (0, "List the objects.", "A red ring."),
            (0, "x", "a"),
        ]
    ]
    with torch.inference_mode():
        features = torch.stack(list(model.get_image_features(pixels).pooler_output))
        prefix = image_prefix(model, processor.tokenizer, features)
        seen = 0
        for group, logits in block_logits(model, prefix, blocks):
            for block, found in zip(group, logits, strict=True):
                opening = processor.tokenizer("<s>USER:" + "<image>" * 64).input_ids
                ids = torch.tensor([[*opening, *block.ids]])
                alone = model(input_ids=ids, pixel_values=pixels[block.row : block.row + 1]).logits[0, len(opening) :]
                torch.testing.assert_close(found[: len(block.ids)], alone, atol=1e-5, rtol=0)
                seen += 1
    assert seen == len(blocks)


def targets_of_two() -> Targets:
    """Two images whose prompts differ: two objects in the first, one in the second."""
    return Targets(
        boxes=torch.tensor([[[0.25, 0.25, 0.2, 0.2], [0.7, 0.7, 0.4, 0.2]], [[0.5, 0.5, 0.3, 0.3], [0, 0, 0, 0]]]),
        tokens=torch.tensor([[[0.0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], [[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]]),
        valid=torch.tensor([[True, True], [True, False]]),
        text=torch.tensor([[True] * 5, [True, True, True, True, False]]),
    )


def test_correct_predictions_in_any_order_have_almost_no_loss() -> None:
    targets = targets_of_two()
    boxes = torch.stack([targets.boxes[0].flip(0), targets.boxes[1]])
    wanted = torch.stack([targets.tokens[0].flip(0), targets.tokens[1]])
    logits = (wanted * 2 - 1) * 20
    logits[1, :, 4] = float("-inf")
    right = set_loss(logits, boxes, targets)
    assert float(sum(right.values())) < 1e-4
    swapped = set_loss(torch.stack([logits[0].flip(0), logits[1]]), boxes, targets)
    assert float(sum(swapped.values())) > 1.0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], 1.0),
        ([0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], 0.0),
        ([0.125, 0.5, 0.25, 1.0], [0.875, 0.5, 0.25, 1.0], -0.5),
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], 0.25),
    ],
)
def test_generalised_overlap_of_boxes(first: list[float], second: list[float], expected: float) -> None:
    assert float(giou(torch.tensor(first), torch.tensor(second))) == pytest.approx(expected)


def test_an_orthogonal_update_equalizes_singular_values() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(24, 8) @ torch.diag(torch.tensor([100.0, 30, 10, 3, 1, 1, 1, 1]))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    lengths = torch.diagonal(left.T @ orthogonal(matrix) @ right.T)
    assert float(lengths.min()) > 0.5
    assert float(lengths.max()) < 1.3
