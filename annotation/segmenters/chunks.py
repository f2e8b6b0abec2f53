"""What all segmenters have in common: encode each image once, then decode its boxes in chunks. Owns that loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from datasetkit.core.detections import FloatArray, ModelIdentity, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.runtime.batches import Batches

Encoded = TypeVar("Encoded")


class ChunkSegmenter(ABC, Generic[Encoded]):
    """A segmenter with an image encoder and a box decoder.

    Args:
        identity: of the weights.
        boxes_per_chunk: how many boxes are decoded at once initially; halved where memory runs out.

    """

    def __init__(self, identity: ModelIdentity, boxes_per_chunk: int) -> None:
        self.identities = (identity,)
        self._boxes_per_chunk = boxes_per_chunk

    @abstractmethod
    def _encode(self, images: Sequence[Image.Image]) -> list[Encoded]:
        """Encode images into what the decoder needs of each."""

    @abstractmethod
    def _decode(self, encoded: Encoded, boxes_xyxy: FloatArray) -> list[Segment | UnusableError]:
        """Return one segment for each box, shape (N, 4), px, of one encoded image."""

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
        return [self._segments(next(encoded), boxes) if len(boxes) else [] for boxes in boxes_xyxy]

    def _segments(self, encoded: Encoded, boxes_xyxy: FloatArray) -> list[Segment] | UnusableError:
        batches: Batches[list[float], Segment] = Batches(
            lambda chunk: self._decode(encoded, np.array(chunk, dtype=np.float64)), self._boxes_per_chunk
        )
        results = batches.run(boxes_xyxy.tolist())
        self._boxes_per_chunk = batches.size
        segments: list[Segment] = []
        for result in results:
            if not isinstance(result, UnusableError):
                segments.append(result)
            elif result.reason is DropReason.OUT_OF_MEMORY:
                raise torch.OutOfMemoryError("not enough memory for a single box in addition to the encoded images")
            else:
                return result
        return segments
