"""The segmenter ``sam2``: SAM 2 and 2.1 through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import Sam2Model, Sam2Processor

from datasetkit.annotation.segmenters.chunks import ChunkSegmenter
from datasetkit.annotation.segmenters.masks import Size, pack_masks, scale_boxes
from datasetkit.core.detections import FloatArray
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import Sam2Options
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor
from datasetkit.runtime.packages import TORCHVISION, require

# The published checkpoints are those of the video model, whose image part can be loaded separately.
_MODEL_TYPES = ("sam2", "sam2_video")


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """An image as the decoder needs it: feature maps (1, C, h, w), finest first, and its size in px."""

    embeddings: list[torch.Tensor]
    size_hw: Size


@dataclass(frozen=True, slots=True)
class Sam2Preparer:
    """Prepares images as squares of one size."""

    processor: Any

    def __call__(self, image: Image.Image, *_: Any) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        pixels = self.processor(images=[image], return_tensors="pt")["pixel_values"].numpy()
        return Prepared(pixels.shape, pixels)


class Sam2Segmenter(ChunkSegmenter[_Encoded]):
    """Segments what is in a box with SAM 2.

    Args:
        dtype: of the image encoder, which does most of the work. The decoder stays in float32: box corners need more
            digits than the shorter types have.
        boxes_per_chunk: how many boxes are decoded at once; halved where memory runs out.

    Raises:
        MissingPackageError: torchvision is missing.
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(
        self, options: Sam2Options, *, device: str = "cpu", dtype: str = "float32", boxes_per_chunk: int = 64
    ) -> None:
        require("sam2", TORCHVISION)
        model, revision = options.model, options.revision
        load_config(model, revision, _MODEL_TYPES)
        self._processor = load_processor(Sam2Processor, model, revision)
        self._model = load_model(Sam2Model, model, revision, device=device, dtype="float32")
        self._dtype = getattr(torch, dtype)
        # These two layers of the decoder see only the image, and run with the encoder.
        for part in (self._model.vision_encoder, self._model.mask_decoder.conv_s0, self._model.mask_decoder.conv_s1):
            part.to(self._dtype)
        super().__init__(
            checkpoint_identity("segmenter", model, revision), Sam2Preparer(self._processor), boxes_per_chunk
        )

    def _encode(self, prepared: Sequence[NDArray[np.float32]], images: Sequence[Image.Image]) -> list[_Encoded]:
        device = self._model.device
        pixels = torch.cat([torch.from_numpy(item).to(device, self._dtype) for item in prepared])
        levels = self._model.get_image_embeddings(pixels)
        return [
            _Encoded([level[index : index + 1].float() for level in levels], (image.height, image.width))
            for index, image in enumerate(images)
        ]

    def _decode(self, encoded: _Encoded, boxes_xyxy: FloatArray) -> list[torch.Tensor]:
        input_hw = (self._processor.target_size, self._processor.target_size)
        boxes = torch.from_numpy(scale_boxes(boxes_xyxy, encoded.size_hw, input_hw)).float()
        output = self._model(
            image_embeddings=encoded.embeddings,
            input_boxes=boxes[None].to(self._model.device),
            multimask_output=False,
        )
        return pack_masks(output.pred_masks[0, :, 0], output.iou_scores[0, :, 0], encoded.size_hw)
