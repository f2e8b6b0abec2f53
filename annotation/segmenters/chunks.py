"""What all segmenters have in common: encode each image once, then decode its boxes in chunks. Owns that loop.

The masks of an image stay on the device until all its boxes are decoded, and reach the host as packed bits in one copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from datasetkit.annotation.segmenters.packed import read_packed
from datasetkit.core.detections import FloatArray, ModelIdentity, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.runtime.batches import Batches

Encoded = TypeVar("Encoded")


class ChunkSegmenter(ABC, Generic[Encoded]):
    """A segmenter with an image encoder and a box decoder.

    Args:
        identity: of the weights.
        boxes_per_chunk: how many boxes are decoded at once; halved where memory runs out, until the next part begins.

    """

    def __init__(self, identity: ModelIdentity, boxes_per_chunk: int) -> None:
        self.identities = (identity,)
        self._boxes_per_chunk = boxes_per_chunk
        self._boxes_that_fit = boxes_per_chunk

    def begin_part(self) -> None:
        """Decode as many boxes at once as initially; see :class:`datasetkit.core.protocols.PartAware`."""
        self._boxes_that_fit = self._boxes_per_chunk

    @abstractmethod
    def _encode(self, images: Sequence[Image.Image]) -> list[Encoded]:
        """Encode images into what the decoder needs of each."""

    @abstractmethod
    def _decode(self, encoded: Encoded, boxes_xyxy: FloatArray) -> list[torch.Tensor]:
        """Return one packed mask for each box, shape (N, 4), px, of one encoded image, without copying it to the host.

        See :func:`datasetkit.annotation.segmenters.masks.pack_masks`.
        """

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]
    ) -> list[list[Segment] | UnusableError]:
        """Return one segment for each box of each image; see :class:`datasetkit.core.protocols.Segmenter`.

        Raises:
            torch.OutOfMemoryError: a single box does not fit; fewer images at once may help.

        """
        asked = [(image, boxes) for image, boxes in zip(images, boxes_xyxy, strict=True) if len(boxes)]
        encoded = iter(self._encode([image for image, _ in asked]) if asked else ())
        return [
            self._segments(next(encoded), boxes, (image.height, image.width)) if len(boxes) else []
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]

    def _segments(
        self, encoded: Encoded, boxes_xyxy: FloatArray, size_hw: tuple[int, int]
    ) -> list[Segment] | UnusableError:
        batches: Batches[list[float], torch.Tensor] = Batches(
            lambda chunk: self._decode(encoded, np.array(chunk, dtype=np.float64)), self._boxes_that_fit, "boxes"
        )
        results = batches.run(boxes_xyxy.tolist())
        self._boxes_that_fit = batches.size
        rows = [result for result in results if isinstance(result, torch.Tensor)]
        packed = iter(read_packed(torch.stack(rows).cpu().numpy(), size_hw) if rows else ())
        segments: list[Segment] = []
        for result in results:
            segment = next(packed) if isinstance(result, torch.Tensor) else result
            if not isinstance(segment, UnusableError):
                segments.append(segment)
            elif segment.reason is DropReason.OUT_OF_MEMORY:
                raise torch.OutOfMemoryError("not enough memory for a single box in addition to the encoded images")
            else:
                return segment
        return segments
