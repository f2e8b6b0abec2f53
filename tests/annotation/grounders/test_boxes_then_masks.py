"""A detector and a segmenter in turn: their inputs, numbers of detections, and errors at the right image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import GroundingDinoForObjectDetection
from transformers.models.sam.modeling_sam import SamVisionEncoder

from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.core.detections import Box, Grounding, NoticeKind, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Detector, Segmenter
from datasetkit.options.models import GroundingDinoOptions, SamOptions
from datasetkit.runtime.checkpoints import resolve
from datasetkit.runtime.stages.timers import Stages
from tests.annotation.models_by_hand import Memory, TableDetector, TableSegmenter, filled, ground

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CAT, BESIDE, DOG = (0.0, 0.0, 20.0, 20.0), (0.0, 0.0, 20.0, 19.0), (24.0, 24.0, 36.0, 36.0)
SCORES = {CAT: (0.9, 0.1), BESIDE: (0.85, 0.2), DOG: (0.25, 0.75)}
ASKED = Query.of_phrases(["a cat", "a dog"])


def score(box: Box, phrase: str) -> float:
    return SCORES[box][ASKED.phrases.index(phrase)]


def make_image(colour: tuple[int, int, int] = RED, size_wh: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new("RGB", size_wh, colour)


def scene(size_wh: tuple[int, int]) -> Image.Image:
    """Return an image with a red square at the cat's box and a blue one at the dog's, on grey."""
    image = make_image((128, 128, 128), size_wh)
    image.paste(RED, (2, 2, 18, 18))
    image.paste(BLUE, (26, 26, 34, 34))
    return image


def grounder(detector: Detector, segmenter: Segmenter, batch: int = 4) -> BoxesThenMasks:
    return BoxesThenMasks(detector, segmenter, detector_batch=batch, segmenter_batch=batch)


def by_table(**more: Any) -> TableDetector:
    return TableDetector((BESIDE, DOG, CAT), score, **more)


def three() -> tuple[list[Image.Image], list[Query]]:
    return [make_image(colour) for colour in (RED, GREEN, BLUE)], [ASKED] * 3


@contextmanager
def pixels_seen(kind: type[torch.nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Collect the prepared images, shape (B, 3, H, W), that modules of a class receive."""
    seen: list[torch.Tensor] = []

    def note(module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(named["pixel_values"] if "pixel_values" in named else arguments[0])

    original = kind.__call__

    def called(module: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        handle = module.register_forward_pre_hook(note, with_kwargs=True)
        try:
            return original(module, *arguments, **named)
        finally:
            handle.remove()

    patch = pytest.MonkeyPatch()
    patch.setattr(kind, "__call__", called)
    try:
        yield seen
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def detector() -> GroundingDinoDetector:
    return GroundingDinoDetector(GroundingDinoOptions(model=resolve("toyworld:detector"), score_min=0.0))


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(SamOptions(model=resolve("toyworld:segmenter")))


def test_red_reaches_both_models_red(detector: GroundingDinoDetector, segmenter: SamSegmenter) -> None:
    with pixels_seen(GroundingDinoForObjectDetection) as found, pixels_seen(SamVisionEncoder) as cut:
        (grounding,) = ground(
            grounder(detector, segmenter), [make_image(size_wh=(64, 64))], [Query.of_phrases(["a star"])]
        )
    assert isinstance(grounding, Grounding)
    for seen, processor in ((found, detector.preparer.image_processor), (cut, segmenter._processor)):
        (pixels,) = seen
        assert pixels.shape[:2] == (1, 3)
        for channel, wanted in enumerate((1.0, 0.0, 0.0)):
            middle = pixels[0, channel, 8:-8, 8:-8] * processor.image_std[channel] + processor.image_mean[channel]
            assert middle.numpy() == pytest.approx(wanted, abs=0.01)


def test_images_without_boxes_are_not_encoded(segmenter: SamSegmenter) -> None:
    queries = [ASKED, Query("", ()), ASKED]
    with pixels_seen(SamVisionEncoder) as seen:
        results = ground(grounder(by_table(), segmenter), [scene((40, 40))] * 3, queries)
    assert [len(pixels) for pixels in seen] == [2]
    assert results[1] == Grounding(())
    for result in (results[0], results[2]):
        assert isinstance(result, Grounding)
        assert result.regions


def test_numbers_are_indices_of_the_detector_boxes() -> None:
    masks = {DOG: None}
    (grounding,) = ground(grounder(by_table(), TableSegmenter(masks)), [make_image()], [ASKED])
    assert isinstance(grounding, Grounding)
    cat, beside = grounding.regions
    assert (beside.number, beside.box_xyxy, beside.phrase_scores) == (1, BESIDE, (0.85, 0.2))
    assert (cat.number, cat.box_xyxy, cat.phrase_scores) == (0, CAT, (0.9, 0.1))
    assert (cat.predicted_iou, cat.stability) == (0.875, 0.75)
    assert cat.mask == filled(CAT, size_hw=(40, 40))
    reasons = {removal.number: removal.reason for removal in grounding.removals}
    assert reasons == {2: DropReason.EMPTY_MASK}


def test_masks_have_the_frame_of_their_image(segmenter: SamSegmenter) -> None:
    sizes = [(90, 37), (40, 44), (64, 64), (40, 44)]
    results = ground(grounder(by_table(), segmenter, batch=2), [scene(size) for size in sizes], [ASKED] * 4)
    for (width, height), result in zip(sizes, results, strict=True):
        assert isinstance(result, Grounding)
        assert sorted(item.number for item in (*result.regions, *result.removals)) == [0, 1, 2]
        assert result.regions[0].number == 0
        for region in result.regions:
            assert region.mask.size_hw == (height, width)
            left, top, box_width, box_height = region.mask.box_xywh
            assert (left, top) >= (region.box_xyxy[0] - 4, region.box_xyxy[1] - 4)
            assert left + box_width <= region.box_xyxy[2] + 4
            assert top + box_height <= region.box_xyxy[3] + 4


def test_each_image_of_a_mixed_batch_has_its_result() -> None:
    images = [make_image(colour, size) for colour, size in ((RED, (50, 40)), (GREEN, (40, 60)), (BLUE, (50, 40)))]
    queries = [Query.of_phrases(["a dog"]), ASKED, Query.of_phrases(["a cat"])]
    results = ground(grounder(by_table(unusable=frozenset([GREEN])), TableSegmenter(), batch=2), images, queries)
    scores = [result.regions[0].phrase_scores if isinstance(result, Grounding) else result.reason for result in results]
    assert scores == [(0.75,), DropReason.NOT_FINITE, (0.9,)]


def test_each_image_gets_its_own_query() -> None:
    queries = [Query.of_phrases(["a dog"]), ASKED, Query.of_phrases(["a cat"])]
    detector = by_table()
    results = ground(grounder(detector, TableSegmenter(), batch=2), three()[0], queries)
    assert detector.asked == queries
    best = [result.regions[0].phrase_scores for result in results if isinstance(result, Grounding)]
    assert best == [(0.75,), (0.9, 0.1), (0.9,)]


def test_notices_and_identities_pass_through() -> None:
    both = grounder(by_table(notices=(NoticeKind.PROMPT_SPLIT,)), TableSegmenter())
    (grounding,) = ground(both, [make_image()], [ASKED])
    assert isinstance(grounding, Grounding)
    assert grounding.notices == (NoticeKind.PROMPT_SPLIT,)
    assert [model.role for model in both.identities] == ["detector", "segmenter"]
    assert ground(both, [], []) == []


def check_lost(results: Sequence[Grounding | UnusableError], reason: DropReason) -> None:
    """Check that the second image has the reason, and the others what they have without it."""
    images, queries = three()
    alone = ground(grounder(by_table(), TableSegmenter()), [images[0], images[2]], queries[:2])
    assert isinstance(results[1], UnusableError)
    assert results[1].reason is reason
    assert [results[0], results[2]] == alone


def test_detector_error_skips_the_segmenter() -> None:
    segmenter = TableSegmenter()
    results = ground(grounder(by_table(unusable=frozenset([GREEN])), segmenter), *three())
    check_lost(results, DropReason.NOT_FINITE)
    assert segmenter.memory.asked == [2]


@pytest.mark.parametrize("batch", [1, 3])
def test_only_the_too_large_image_is_lost(batch: int) -> None:
    memory = Memory(never=frozenset([GREEN]))
    for results in (
        ground(grounder(by_table(memory=memory), TableSegmenter(), batch), *three()),
        ground(grounder(by_table(), TableSegmenter(memory=memory), batch), *three()),
    ):
        check_lost(results, DropReason.OUT_OF_MEMORY)


def test_out_of_memory_halves_one_model_only() -> None:
    images, queries = ([*part, part[0]] for part in three())
    plain = ground(grounder(by_table(), TableSegmenter()), images, queries)
    for of_detector, of_segmenter in ((Memory(most=1), Memory()), (Memory(), Memory(most=1))):
        both = grounder(by_table(memory=of_detector), TableSegmenter(memory=of_segmenter))
        assert ground(both, images, queries) == plain
        halved, whole = (of_detector, of_segmenter) if of_detector.most == 1 else (of_segmenter, of_detector)
        assert halved.asked == [4, 2, 1, 1, 1, 1]
        assert whole.asked == [4]
        ground(both, images, queries)
        assert halved.asked[6:] == [4, 2, 1, 1, 1, 1], "the batches of another run are whole again"


def test_both_stages_are_timed_in_images() -> None:
    stages = Stages()
    ground(grounder(by_table(unusable=frozenset([GREEN])), TableSegmenter()), *three(), stages)
    work = stages.snapshot().stages
    assert {name: (one.items, one.on_device) for name, one in work.items()} == {
        "detect": (3, True),
        "segment": (2, True),
    }


def test_other_errors_end_the_run() -> None:
    broken = replace(by_table(), boxes=((1.0, 1.0, 2.0, 2.0),))
    with pytest.raises(KeyError):
        ground(grounder(broken, TableSegmenter()), [make_image()], [ASKED])
