"""What the protocol requires of every segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasetkit.core.detections import Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from tests.annotation.segmenters.syncs import Syncs

pytestmark = pytest.mark.slow

SIZES_HW = ((128, 128), (60, 97), (200, 40))


def _images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (h // 10 + 1, w // 10 + 1, 3), dtype=np.uint8)).resize((w, h))
        for h, w in SIZES_HW
    ]


def _boxes(count: int, size_hw: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(count)
    corners = np.sort(rng.uniform(0, 0.7, (count, 2, 2)), axis=1)
    corners[:, 1] += 0.3
    height, width = size_hw
    return corners.reshape(count, 4) * [width, height, width, height]


@contextmanager
def _watched(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect a module's first argument, call by call."""
    seen: list[torch.Tensor] = []

    def note(_: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        seen.append(args[0] if args else kwargs["image_embeddings"])

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def _assert_equal(got: Sequence[Sequence[Segment]], expected: Sequence[Sequence[Segment]]) -> None:
    assert [len(segments) for segments in got] == [len(segments) for segments in expected]
    for one, other in zip(chain(*got), chain(*expected), strict=True):
        # A different order of summation may flip a pixel whose logit is almost 0.
        assert (one.mask.decode() != other.mask.decode()).sum() <= 2
        assert one.predicted_iou == pytest.approx(other.predicted_iou, abs=1e-5)
        assert one.stability == pytest.approx(other.stability, abs=1e-3)


@pytest.fixture(scope="module")
def segmenter(kind: Any) -> Any:
    return kind.make()


def test_segments_have_the_image_frame_and_scores(segmenter: Any) -> None:
    images = _images()
    boxes = [_boxes(4, size_hw) for size_hw in SIZES_HW]
    results = segmenter.segment(images, boxes)
    assert [len(segments) for segments in results] == [4, 4, 4]
    for size_hw, segments in zip(SIZES_HW, results, strict=True):
        for segment in segments:
            assert segment.mask is not None
            assert segment.mask.size_hw == size_hw
            assert 0 <= segment.predicted_iou <= 1
            assert 0 <= segment.stability <= 1
            assert segment.stability == round(segment.stability, 6)
    assert any(segment.stability > 0 for segments in results for segment in segments)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_image_is_encoded_once_if_it_has_boxes(kind: Any, segmenter: Any, count: int) -> None:
    image = _images()[1]
    with (
        _watched(segmenter._model.get_submodule(kind.encoder)) as encoded,
        _watched(segmenter._model.get_submodule(kind.decoder)) as decoded,
    ):
        segments = segmenter.segment([image], [_boxes(count, SIZES_HW[1])])
    assert len(segments[0]) == count
    assert len(encoded) == min(count, 1)
    assert len(decoded) == -(-count // 64)


def test_images_without_boxes_are_not_batched(kind: Any, segmenter: Any) -> None:
    boxes = [_boxes(2, SIZES_HW[0]), np.zeros((0, 4)), _boxes(3, SIZES_HW[2])]
    with _watched(segmenter._model.get_submodule(kind.encoder)) as encoded:
        results = segmenter.segment(_images(), boxes)
    assert [len(segments) for segments in results] == [2, 0, 3]
    assert [len(pixels) for pixels in encoded] == [2]


def test_mixed_sizes_equal_single_images(segmenter: Any) -> None:
    images = _images()
    boxes = [_boxes(count, size_hw) for count, size_hw in zip((3, 1, 5), SIZES_HW, strict=True)]
    alone = [segmenter.segment([image], [own])[0] for image, own in zip(images, boxes, strict=True)]
    _assert_equal(segmenter.segment(images, boxes), alone)


@pytest.mark.parametrize("boxes_per_chunk", [1, 7])
def test_chunk_size_changes_nothing(kind: Any, segmenter: Any, boxes_per_chunk: int) -> None:
    boxes = [_boxes(16, SIZES_HW[1])]
    chunked = kind.make(boxes_per_chunk=boxes_per_chunk)
    with _watched(chunked._model.get_submodule(kind.decoder)) as decoded:
        _assert_equal(chunked.segment(_images()[1:2], boxes), segmenter.segment(_images()[1:2], boxes))
    assert len(decoded) == -(-16 // boxes_per_chunk)


def test_masks_reach_the_host_in_one_copy_per_image(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small, images = kind.make(boxes_per_chunk=4), _images()
    prepared = [small.preparer(image).value for image in images]
    encoded = small._encode(prepared, images)
    monkeypatch.setattr(small, "_encode", lambda *_: encoded)
    boxes = [_boxes(count, size_hw) for count, size_hw in zip((11, 1, 5), SIZES_HW, strict=True)]
    with Syncs() as syncs:
        small.forward(prepared, images, boxes)
    assert syncs.calls == ["torch.Tensor.cpu"] * 3


def test_image_with_a_mask_that_is_not_finite_is_an_error(kind: Any) -> None:
    broken = kind.make(boxes_per_chunk=4)
    calls: list[int] = []

    def spoil(_: torch.nn.Module, __: tuple, output: tuple) -> tuple:
        calls.append(len(calls))
        masks, *rest = output
        if len(calls) == 2:
            masks = masks.clone()
            masks.view(-1)[3] = float("nan")
        return (masks, *rest)

    broken._model.get_submodule(kind.decoder).register_forward_hook(spoil)
    results = broken.segment(_images()[:2], [_boxes(6, SIZES_HW[0]), _boxes(2, SIZES_HW[1])])
    assert isinstance(results[0], UnusableError)
    assert results[0].reason is DropReason.NOT_FINITE
    assert len(calls) == 3
    assert len(results[1]) == 2, "the other image is intact"


def test_red_reaches_the_model_as_red(kind: Any, segmenter: Any) -> None:
    red = Image.new("RGB", (100, 50), (255, 0, 0))
    with _watched(segmenter._model.get_submodule(kind.encoder)) as encoded:
        segmenter.segment([red], [np.array([[10.0, 10.0, 50.0, 40.0]])])
    pixels = encoded[0][0, :, :10, :10].float().cpu().numpy().mean((1, 2))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(pixels, (np.array([1.0, 0.0, 0.0]) - mean) / std, atol=1e-4)


def test_out_of_memory_halves_the_chunk_without_loss(kind: Any, segmenter: Any) -> None:
    boxes = [_boxes(13, SIZES_HW[1])]
    small = kind.make(boxes_per_chunk=8)
    calls: list[int] = []

    def fit_three(_: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        sparse = kwargs["sparse_prompt_embeddings"]
        calls.append(sparse.shape[1] if sparse.dim() == 4 else sparse.shape[0])
        if calls[-1] > 3:
            raise torch.OutOfMemoryError("no more")

    decoder = small._model.get_submodule(kind.decoder)
    handle = decoder.register_forward_pre_hook(fit_three, with_kwargs=True)
    with _watched(small._model.get_submodule(kind.encoder)) as encoded:
        got = small.segment(_images()[1:2], boxes)
        assert calls == [8, 4, 2, 2, 2, 2, 2, 2, 1]
        small.segment(_images()[1:2], [boxes[0][:4]])
        assert calls[9:] == [2, 2], "a size that did not fit is not tried again"
        small.begin_part()
        small.segment(_images()[1:2], [boxes[0][:9]])
        assert calls[11:] == [8, 4, 2, 2, 2, 2, 1], "until the next part"
    handle.remove()
    assert len(encoded) == 3, "the images are not encoded again"
    _assert_equal(got, segmenter.segment(_images()[1:2], boxes))


def test_single_box_without_memory_raises(kind: Any) -> None:
    segmenter = kind.make()

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no more")

    segmenter._model.get_submodule(kind.decoder).register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError, match="single box"):
        segmenter.segment(_images()[:1], [_boxes(2, SIZES_HW[0])])


def test_shorter_type_changes_little(kind: Any, segmenter: Any) -> None:
    boxes = [_boxes(4, SIZES_HW[1])]
    short = kind.make(dtype="bfloat16")
    with _watched(short._model.get_submodule(kind.encoder)) as encoded:
        got = short.segment(_images()[1:2], boxes)[0]
    assert encoded[0].dtype is torch.bfloat16
    for one, other in zip(got, segmenter.segment(_images()[1:2], boxes)[0], strict=True):
        one_array, other_array = one.mask.decode(), other.mask.decode()
        assert (one_array & other_array).sum() > 0.8 * (one_array | other_array).sum()


def test_images_and_boxes_must_be_equally_many(segmenter: Any) -> None:
    with pytest.raises(ValueError, match="shorter"):
        segmenter.segment(_images(), [_boxes(1, SIZES_HW[0])])
