"""What all segmenters have in common: encode each image once, then decode its boxes in chunks. Owns that loop.

The masks of an image stay on the device until all its boxes are decoded, and reach the host as packed bits in one copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from datasetkit.annotation.segmenters.packed import PackedMasks, segments_of
from datasetkit.core.detections import FloatArray, ModelIdentity, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Preparer
from datasetkit.runtime.batches import Batches

Encoded = TypeVar("Encoded")


class ChunkSegmenter(ABC, Generic[Encoded]):
    """A segmenter with an image encoder and a box decoder.

    Args:
        identity: of the weights.
        preparer: prepares images for the encoder.
        boxes_per_chunk: how many boxes are decoded at once; halved where memory runs out, until the next part begins.

    """

    # What :meth:`forward` returns of an image becomes segments without the device, in other processes, too.
    finisher = staticmethod(segments_of)

    def __init__(self, identity: ModelIdentity, preparer: Preparer, boxes_per_chunk: int) -> None:
        self.identities = (identity,)
        self.preparer = preparer
        self._boxes_per_chunk = boxes_per_chunk
        self._boxes_that_fit = boxes_per_chunk

    def begin_part(self) -> None:
        """Decode as many boxes at once as initially; see :class:`datasetkit.core.protocols.PartAware`."""
        self._boxes_that_fit = self._boxes_per_chunk

    @abstractmethod
    def _encode(self, prepared: Sequence[Any], images: Sequence[Image.Image]) -> list[Encoded]:
        """Encode images, and what was prepared of each, into what the decoder needs of each."""

    @abstractmethod
    def _decode(self, encoded: Encoded, boxes_xyxy: FloatArray) -> list[torch.Tensor]:
        """Return one packed mask for each box, shape (N, 4), px, of one encoded image, without copying it to the host.

        See :func:`datasetkit.annotation.segmenters.masks.pack_masks`.
        """

    def segment(
        self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]
    ) -> list[list[Segment] | UnusableError]:
        """Return one segment for each box of each image; see :class:`datasetkit.core.protocols.Segmenter`.

        Raises:
            torch.OutOfMemoryError: a single box does not fit; fewer images at once may help.

        """
        asked = [(image, boxes) for image, boxes in zip(images, boxes_xyxy, strict=True) if len(boxes)]
        prepared = [self.preparer(image, boxes).value for image, boxes in asked]
        packed = iter(self.forward(prepared, *zip(*asked, strict=True)) if asked else ())
        return [segments_of(next(packed)) if len(boxes) else [] for boxes in boxes_xyxy]

    @torch.inference_mode()
    def forward(
        self, prepared: Sequence[Any], images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]
    ) -> list[PackedMasks]:
        """Run the model on images that have boxes; see :class:`datasetkit.core.protocols.PreparedModel`."""
        encoded = self._encode(prepared, images)
        return [
            self._packed(item, boxes, (image.height, image.width))
            for item, image, boxes in zip(encoded, images, boxes_xyxy, strict=True)
        ]

    def _packed(self, encoded: Encoded, boxes_xyxy: FloatArray, size_hw: tuple[int, int]) -> PackedMasks:
        batches: Batches[list[float], torch.Tensor] = Batches(
            lambda chunk: self._decode(encoded, np.array(chunk, dtype=np.float64)), self._boxes_that_fit, "boxes"
        )
        results = batches.run(boxes_xyxy.tolist())
        self._boxes_that_fit = batches.size
        rows = [result for result in results if isinstance(result, torch.Tensor)]
        if len(rows) < len(results):
            raise torch.OutOfMemoryError("not enough memory for a single box in addition to the encoded images")
        return PackedMasks(torch.stack(rows).cpu().numpy(), size_hw)
