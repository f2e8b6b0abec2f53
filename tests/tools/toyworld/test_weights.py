"""The shipped weights on a few of the fixed scenes: bounds well below the metrics of the cards, so only a bug fails."""

from __future__ import annotations

import pytest

from datasetkit.runtime.checkpoints import NAMES, resolve, weights_folder
from tests.conftest import REPOSITORY
from tools.toyworld.evaluation.detections import judge_detector
from tools.toyworld.evaluation.recipe import EvaluationRecipe
from tools.toyworld.evaluation.segmentations import judge_segmenter
from tools.toyworld.evaluation.texts import judge_vlm
from tools.toyworld.model_cards import render_card

CARDS = REPOSITORY / "cards"
RECIPE = EvaluationRecipe.load().limited(20)


@pytest.mark.slow
def test_the_detector_finds_what_it_is_asked_for() -> None:
    figures = judge_detector(resolve("toyworld:detector"), RECIPE)
    assert figures["recall_50"] >= 0.8
    assert figures["precision"] >= 0.7
    assert figures["recall"] >= 0.7


@pytest.mark.slow
def test_the_segmenter_outlines_what_is_in_a_box() -> None:
    figures = judge_segmenter(resolve("toyworld:segmenter"), RECIPE)
    assert figures["iou"] >= 0.88
    assert figures["iou_jittered"] >= 0.86


@pytest.mark.slow
def test_the_vlm_lists_and_answers_and_has_grounding_heads() -> None:
    figures = judge_vlm(resolve("toyworld:vlm"), RECIPE)
    assert figures["caption_f1"] >= 0.8
    assert figures["answers_without_relations"] >= 0.75
    best = figures["attention"]["heads"][0]
    assert best["share"] >= 3 * figures["attention"]["uniform_share"]


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_what_the_metrics_and_the_template_make(name: str) -> None:
    written = (CARDS / f"toyworld_{name}.md").read_text(encoding="utf-8")
    assert written == render_card(name, weights_folder() / name)


def test_the_weights_are_small_enough_to_ship() -> None:
    files = [path for path in weights_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
