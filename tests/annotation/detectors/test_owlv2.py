from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from datasetkit.annotation.detectors.owlv2 import Owlv2Detector
from datasetkit.core.detections import Query
from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.options.models import Owlv2Options

PHRASES = ("a red star", "b c", "d")


@pytest.fixture(scope="session")
def detector(owlv2: str) -> Owlv2Detector:
    return Owlv2Detector(Owlv2Options(model=owlv2, score_min=0.0))


@torch.inference_mode()
def test_boxes_and_scores_equal_transformers(owlv2: str, detector: Owlv2Detector, images: list[Image.Image]) -> None:
    """A wide image, which the processor pads to a square; transformers computes the boxes, phrase by phrase."""
    image = images[2]
    processor = AutoProcessor.from_pretrained(owlv2)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(owlv2)
    (found,) = detector.detect([image], [Query.of_phrases(PHRASES)])
    columns = []
    for phrase in PHRASES:
        inputs = processor(images=image, text=[[phrase]], return_tensors="pt", padding=True)
        output = model(**inputs)
        placed = processor.post_process_grounded_object_detection(output, threshold=-1.0, target_sizes=[(60, 120)])
        columns.append(placed[0]["scores"].numpy())
    scores = np.stack(columns, 1)
    order = np.argsort(-scores.max(1), kind="stable")
    boxes = placed[0]["boxes"].numpy()[order].clip(0, (120, 60, 120, 60))
    real = (boxes[:, 2:] > boxes[:, :2]).all(1)
    np.testing.assert_allclose(found.boxes_xyxy, boxes[real], atol=1e-3)
    np.testing.assert_allclose(found.scores, scores[order][real], atol=1e-5)
    assert 4 < len(found.boxes_xyxy) < 16


def test_each_image_gets_its_own_phrases(detector: Owlv2Detector, images: list[Image.Image]) -> None:
    queries = [Query.of_phrases(PHRASES), Query("a star", ()), Query.of_phrases(["star"]), Query.of_phrases(["d", "e"])]
    together = detector.detect(images, queries)
    for image, query, found in zip(images, queries, together, strict=True):
        (alone,) = detector.detect([image], [query])
        np.testing.assert_allclose(found.boxes_xyxy, alone.boxes_xyxy, atol=1e-4)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
        assert found.scores.shape == (len(found.boxes_xyxy), len(query.spans))
        assert (found.boxes_xyxy <= (*image.size, *image.size)).all()
    assert together[1].boxes_xyxy.shape == (0, 4)


def test_long_phrase_is_cut(detector: Owlv2Detector, images: list[Image.Image]) -> None:
    fitting, longer = Query.of_phrases(["a b c d e f"]), Query.of_phrases(["a b c d e f g"])
    (whole,), (cut,) = (detector.detect(images[:1], [query]) for query in (fitting, longer))
    assert whole.notices == ()
    assert cut.notices == (NoticeKind.PHRASE_CUT,)
    np.testing.assert_array_equal(whole.scores, cut.scores)
    (shorter,) = detector.detect(images[:1], [Query.of_phrases(["a b c d e"])])
    assert not np.allclose(whole.scores, shorter.scores, atol=1e-3)


def test_phrase_without_tokens_scores_0(detector: Owlv2Detector, images: list[Image.Image]) -> None:
    (found,) = detector.detect(images[:1], [Query.of_phrases(["star", "\x00\u200b"])])
    assert found.scores[:, 0].min() > 0
    assert found.scores[:, 1].max() == 0


def test_minimum_score_counts(owlv2: str, detector: Owlv2Detector, images: list[Image.Image]) -> None:
    (whole,) = detector.detect(images[:1], [Query.of_phrases(PHRASES)])
    least = float(np.median(whole.scores.max(1)))
    strict = Owlv2Detector(Owlv2Options(model=owlv2, score_min=least))
    (part,) = strict.detect(images[:1], [Query.of_phrases(PHRASES)])
    assert 0 < len(part.boxes_xyxy) < len(whole.boxes_xyxy)
    assert (np.diff(part.scores.max(1)) <= 0).all()


def test_red_image_reaches_the_model_red(detector: Owlv2Detector) -> None:
    seen: list[torch.Tensor] = []
    hook = detector._model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["pixel_values"]), with_kwargs=True
    )
    detector.detect([Image.new("RGB", (70, 70), (255, 0, 0))], [Query.of_phrases(["star"])])
    hook.remove()
    processor = detector.preparer.image_processor
    mean, std = (torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    pixels = seen[0][0] * std + mean
    torch.testing.assert_close(pixels.mean((1, 2)).float(), torch.tensor([1.0, 0.0, 0.0]), atol=1e-4, rtol=0)


def test_image_with_nan_leaves_the_others_intact(detector: Owlv2Detector, images: list[Image.Image]) -> None:
    def spoil(_: object, __: object, inputs: dict[str, torch.Tensor]) -> None:
        inputs["pixel_values"][1] = torch.nan

    hook = detector._model.register_forward_pre_hook(spoil, with_kwargs=True)
    found = detector.detect(images[:2], [Query.of_phrases(PHRASES)] * 2)
    hook.remove()
    assert isinstance(found[1], UnusableError)
    assert found[1].reason is DropReason.NOT_FINITE
    np.testing.assert_allclose(
        found[0].scores, detector.detect(images[:1], [Query.of_phrases(PHRASES)])[0].scores, atol=1e-6
    )


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="type grounding-dino; give one of type owlv2"):
        Owlv2Detector(Owlv2Options(model="toyworld:detector"))
