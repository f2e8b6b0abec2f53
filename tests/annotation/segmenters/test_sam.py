from __future__ import annotations

import numpy as np
import pytest

from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.core.errors import ModelError
from datasetkit.options.models import SamOptions
from tools.toyworld.evaluation.recipe import Example


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(SamOptions(model="toyworld:segmenter"))


def test_exact_boxes_yield_nearly_true_masks(segmenter: SamSegmenter, scenes: list[Example]) -> None:
    results = segmenter.segment([scene.image for scene in scenes], [scene.boxes_xyxy for scene in scenes])
    ious = []
    for scene, segments in zip(scenes, results, strict=True):
        for mask, segment in zip(scene.masks, segments, strict=True):
            assert segment.mask is not None
            found = segment.mask.decode()
            ious.append((mask & found).sum() / (mask | found).sum())
            assert segment.predicted_iou is not None
            assert segment.predicted_iou > 0.5
    assert np.mean(ious) >= 0.9


def test_chunks_and_batches_do_not_change_masks(segmenter: SamSegmenter, scenes: list[Example]) -> None:
    images, boxes = [scene.image for scene in scenes], [scene.boxes_xyxy for scene in scenes]
    expected = [[segment.mask for segment in segments] for segments in segmenter.segment(images, boxes)]
    for size in (1, 7):
        chunked = SamSegmenter(SamOptions(model="toyworld:segmenter"), boxes_per_chunk=size)
        for index, (image, own) in enumerate(zip(images, boxes, strict=True)):
            assert [segment.mask for segment in chunked.segment([image], [own])[0]] == expected[index]


def test_identity_is_that_of_the_shipped_model(segmenter: SamSegmenter) -> None:
    (identity,) = segmenter.identities
    assert (identity.role, identity.id, identity.revision) == ("segmenter", "toyworld:segmenter", None)
    assert identity.sha256 is not None


def test_other_architecture_is_refused() -> None:
    with pytest.raises(ModelError, match="type grounding-dino; give one of type sam or sam_hq"):
        SamSegmenter(SamOptions(model="toyworld:detector"))
