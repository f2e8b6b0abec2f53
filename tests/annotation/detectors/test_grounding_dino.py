from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.detectors.prompts import split_query
from datasetkit.annotation.detectors.tokens import text_offsets
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.options.models import GroundingDinoOptions
from datasetkit.runtime.checkpoints import resolve
from datasetkit.toyworld.scenes import Split
from tests.annotation.detectors.tiny import MAX_TEXT
from tests.precision import TOLERANCE
from tools.toyworld.evaluation.detections import box_iou
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example

pytestmark = pytest.mark.slow

SHORT = Query.of_phrases(["a cat", "two dogs"])
LONG = Query.of_phrases(["a red cat", "dog", "two stars", "woman", "a man", "stars", "a dogs cat", "red"])


@pytest.fixture(scope="session")
def detector(grounding_dino: str) -> GroundingDinoDetector:
    return GroundingDinoDetector(GroundingDinoOptions(model=grounding_dino, score_min=0.0))


@pytest.fixture(scope="session")
def shipped() -> GroundingDinoDetector:
    return GroundingDinoDetector(GroundingDinoOptions(model="toyworld:detector", score_min=0.0))


@pytest.fixture(scope="session")
def scenes() -> list[Example]:
    return list(EvaluationRecipe.load().limited(8).examples(Split.TEST))


def same(found: Detections | UnusableError, expected: Detections | UnusableError, tolerance: float) -> bool:
    return np.allclose(found.boxes_xyxy, expected.boxes_xyxy, rtol=0, atol=tolerance) and np.allclose(
        found.scores, expected.scores, rtol=0, atol=tolerance
    )


def query_of(example: Example) -> Query:
    """Make a query with a phrase for each object of a scene, in order."""
    items = example.scene.objects
    return Query.of_phrases([f"a {item.size.value} {item.colour.value} {item.shape.value}" for item in items])


@pytest.mark.numeric
@pytest.mark.parametrize("reduction", ["mean", "max"])
@torch.inference_mode()
def test_boxes_and_scores_equal_transformers(grounding_dino: str, images: list[Image.Image], reduction: str) -> None:
    """A wide image: transformers computes the boxes; the phrases' tokens are counted by hand."""
    image = images[2]
    processor = AutoProcessor.from_pretrained(grounding_dino)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(grounding_dino)
    inputs = processor(images=image, text="a cat . two dogs .", return_tensors="pt")
    output = model(**inputs)
    placed = processor.post_process_grounded_object_detection(output, threshold=-1.0, target_sizes=[(60, 120)])
    # [CLS] a cat . two dog ##s . [SEP]
    probabilities = output.logits[0].sigmoid()
    reduce = torch.mean if reduction == "mean" else torch.amax
    scores = torch.stack([reduce(probabilities[:, [1, 2]], 1), reduce(probabilities[:, [4, 5, 6]], 1)], 1)
    order = scores.amax(1).argsort(descending=True, stable=True)
    boxes = placed[0]["boxes"][order].numpy().clip(0, (120, 60, 120, 60))
    real = (boxes[:, 2:] > boxes[:, :2]).all(1)
    options = GroundingDinoOptions(model=grounding_dino, score_min=0.0, reduction=reduction)
    (found,) = GroundingDinoDetector(options).detect([image], [SHORT])
    assert same(found, Detections(boxes[real], scores[order].numpy()[real]), 1e-4)
    assert len(found.boxes_xyxy) > 3


def test_boxes_are_sorted_and_above_the_minimum(grounding_dino: str, images: list) -> None:
    lax = GroundingDinoOptions(model=grounding_dino, score_min=0.0)
    everything = GroundingDinoDetector(lax).detect(images, [SHORT] * 4)
    for whole in everything:
        best = whole.scores.max(1)
        assert (np.diff(best) <= 0).all()
    least = float(np.median(everything[0].scores.max(1)))
    strict = GroundingDinoOptions(model=grounding_dino, score_min=least)
    part = GroundingDinoDetector(strict).detect(images[:1], [SHORT])[0]
    assert 0 < len(part.boxes_xyxy) < len(everything[0].boxes_xyxy)
    assert part.scores.max(1).min() >= least


def test_boxes_are_inside_their_image(detector: GroundingDinoDetector, images: list) -> None:
    queries = [SHORT, Query.of_phrases(["woman"]), LONG, Query("an image", ())]
    found = detector.detect(images, queries)
    for image, query, detections in zip(images, queries, found, strict=True):
        boxes = detections.boxes_xyxy
        assert detections.scores.shape == (len(boxes), len(query.spans))
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes >= 0).all()
        assert (boxes <= (*image.size, *image.size)).all()
    assert found[1].boxes_xyxy.shape == (len(found[1].scores), 4)
    assert found[3].boxes_xyxy.shape == (0, 4)
    assert detector.detect([], []) == []


@pytest.mark.numeric
def test_batch_of_equal_sizes_equals_single_images(detector: GroundingDinoDetector, images: list) -> None:
    queries = [SHORT, Query.of_phrases(["a woman", "star", "a red dog"])]
    together = detector.detect(images[:2], queries)
    for image, query, found in zip(images, queries, together, strict=False):
        assert same(found, detector.detect([image], [query])[0], 1e-4)


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_batch_of_scenes_equals_single_scenes(scenes: list[Example]) -> None:
    shipped = GroundingDinoDetector(GroundingDinoOptions(model="toyworld:detector", score_min=0.0), dtype="float64")
    queries = [Query.of_phrases(["a red star", "a large ring", "circle"][: 1 + number % 3]) for number in range(8)]
    together = shipped.detect([scene.image for scene in scenes], queries)
    for scene, query, found in zip(scenes, queries, together, strict=True):
        assert same(found, shipped.detect([scene.image], [query])[0], TOLERANCE)


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_mixed_sizes_do_not_change_results(scenes: list[Example], tmp_path: Path) -> None:
    """Wide and tall crops in one batch; trained weights, and a processor that keeps the aspect ratio."""
    folder = tmp_path / "detector"
    shutil.copytree(resolve("toyworld:detector"), folder)
    config = json.loads((folder / "processor_config.json").read_text())
    config["image_processor"]["size"] = {"shortest_edge": 96, "longest_edge": 128}
    (folder / "processor_config.json").write_text(json.dumps(config))
    images = [scene.image.crop((0, 0, *size)) for scene, size in zip(scenes, [(128, 96), (96, 128)] * 4, strict=True)]
    queries = list(map(query_of, scenes))
    detector = GroundingDinoDetector(GroundingDinoOptions(model=str(folder)), dtype="float64")
    for image, query, found in zip(images, queries, detector.detect(images, queries), strict=True):
        assert same(found, detector.detect([image], [query])[0], TOLERANCE)


def test_long_prompt_equals_its_parts_exactly(detector: GroundingDinoDetector, images: list[Image.Image]) -> None:
    image = images[2]
    split = split_query(LONG, lambda text: text_offsets(detector.preparer.tokenizer, text), MAX_TEXT - 2)
    assert len(split.parts) == 2
    boxes, scores = [], []
    for part in split.parts:
        (found,) = detector.detect([image], [part.query])
        assert found.notices == ()
        boxes.append(found.boxes_xyxy)
        scores.append(np.zeros((len(found.boxes_xyxy), len(LONG.spans))))
        scores[-1][:, part.phrases] = found.scores
    order = np.argsort(-np.concatenate(scores).max(1), kind="stable")
    (merged,) = detector.detect([image], [LONG])
    assert merged.notices == (NoticeKind.PROMPT_SPLIT,)
    assert np.array_equal(merged.boxes_xyxy, np.concatenate(boxes)[order])
    assert np.array_equal(merged.scores, np.concatenate(scores)[order])


def test_longest_prompt_is_not_split(detector: GroundingDinoDetector, images: list) -> None:
    seen: list[int] = []
    hook = detector._model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    fitting = Query.of_phrases(["a"] * ((MAX_TEXT - 2) // 2))
    (found,) = detector.detect(images[:1], [fitting])
    hook.remove()
    assert seen == [MAX_TEXT]
    assert found.notices == ()


def test_long_phrase_is_cut(detector: GroundingDinoDetector, images: list) -> None:
    words = "red cat dog " * 20
    (found,) = detector.detect(images[:1], [Query(words, ((0, len(words)),))])
    assert found.notices == (NoticeKind.PHRASE_CUT,)
    (kept,) = detector.detect(images[:1], [Query.of_phrases([("red cat dog " * 7)[: -len(" ")]])])
    assert same(found, kept, 0)


def test_caption_gets_a_full_stop(detector: GroundingDinoDetector, images: list) -> None:
    open_, closed = Query("a cat sees two dogs", ((0, 5), (11, 19))), Query("a cat sees two dogs .", ((0, 5), (11, 19)))
    assert same(*(detector.detect(images[:1], [query])[0] for query in (open_, closed)), 0)


def test_phrase_without_tokens_scores_0(detector: GroundingDinoDetector, images: list) -> None:
    (found,) = detector.detect(images[:1], [Query.of_phrases(["cat", "\x00\u200b"])])
    assert found.scores[:, 0].min() > 0
    assert found.scores[:, 1].max() == 0


def test_red_image_reaches_the_model_red(detector: GroundingDinoDetector) -> None:
    seen: list[torch.Tensor] = []
    hook = detector._model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["pixel_values"]), with_kwargs=True
    )
    detector.detect([Image.new("RGB", (70, 50), (255, 0, 0))], [SHORT])
    hook.remove()
    processor = detector.preparer.image_processor
    mean, std = (torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    pixels = seen[0][0] * std + mean
    torch.testing.assert_close(pixels.mean((1, 2)), torch.tensor([1.0, 0.0, 0.0]), atol=1e-4, rtol=0)


def test_image_with_nan_leaves_the_others_intact(detector: GroundingDinoDetector, images: list[Image.Image]) -> None:
    def spoil(_: object, __: object, inputs: dict[str, torch.Tensor]) -> None:
        pixels = inputs["pixel_values"]
        pixels[pixels.flatten(2).std(2).sum(1) < 1e-3] = torch.nan

    grey = Image.new("RGB", (80, 80), (90, 90, 90))
    hook = detector._model.register_forward_pre_hook(spoil, with_kwargs=True)
    found = detector.detect([images[0], grey, images[1]], [SHORT, SHORT, SHORT])
    hook.remove()
    assert isinstance(found[1], UnusableError)
    assert found[1].reason is DropReason.NOT_FINITE
    for place in (0, 2):
        assert same(found[place], detector.detect([images[place // 2]], [SHORT])[0], 1e-4)


def test_very_thin_image_is_detected(detector: GroundingDinoDetector) -> None:
    (found,) = detector.detect([Image.new("RGB", (1, 3000))], [SHORT])
    assert found.boxes_xyxy[:, 2].max() <= 1


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=20).filter(str.strip), max_size=100))
def test_any_phrases_are_accepted(detector: GroundingDinoDetector, images: list, texts: list[str]) -> None:
    query = Query.of_phrases(texts)
    (found,) = detector.detect(images[:1], [query])
    assert found.scores.shape == (len(found.boxes_xyxy), len(texts))
    assert {query.phrases[number] for number in found.scores.argmax(1)} <= {*texts} if texts else True
    assert np.isfinite(found.scores).all()


def test_shipped_model_finds_its_phrases(shipped: GroundingDinoDetector, scenes: list[Example]) -> None:
    hits = total = 0
    for scene in scenes:
        query = query_of(scene)
        names = query.phrases
        (found,) = shipped.detect([scene.image], [query])
        best = found.boxes_xyxy[found.scores.argmax(0)]
        for number, name in enumerate(names):
            truth = scene.boxes_xyxy[[other == name for other in names]]
            hits += bool((box_iou(best[[number]], truth) > 0.5).any())
            total += 1
    assert hits / total > 0.85


def test_other_architectures_and_paths_are_refused(owlv2: str, tmp_path: object) -> None:
    with pytest.raises(ModelError, match="type owlv2; give one of type grounding-dino or mm-grounding-dino"):
        GroundingDinoDetector(GroundingDinoOptions(model=owlv2))
    with pytest.raises(ModelError, match="cannot be loaded"):
        GroundingDinoDetector(GroundingDinoOptions(model=str(tmp_path)))


def test_identity_distinguishes_weights(shipped: GroundingDinoDetector, detector: GroundingDinoDetector) -> None:
    (identity,) = shipped.identities
    assert (identity.role, identity.id, identity.revision) == ("detector", "toyworld:detector", None)
    assert identity.sha256 != detector.identities[0].sha256
