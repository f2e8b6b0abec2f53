"""The segmenter ``sam``: SAM and SAM-HQ through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SamHQModel, SamImageProcessorPil, SamModel

from datasetkit.annotation.segmenters.chunks import ChunkSegmenter
from datasetkit.annotation.segmenters.masks import Size, pack_masks, scale_boxes
from datasetkit.core.detections import FloatArray
from datasetkit.core.image import thickened
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import SamOptions
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor

_CLASSES = {"sam": SamModel, "sam_hq": SamHQModel}


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """An image as the decoder needs it: keyword arguments of the model, each with a batch axis of 1.

    Sizes are those of the image, and of the image as the encoder saw it, without padding, px.
    """

    embeddings: dict[str, Any]
    size_hw: Size
    input_hw: Size


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedImage:
    """An image as the encoder takes it.

    Args:
        pixels: shape (1, 3, S, S), dtype float32.
        input_hw: size of the image as the encoder sees it, without padding, px.

    """

    pixels: NDArray[np.float32]
    input_hw: Size


@dataclass(frozen=True, slots=True)
class SamPreparer:
    """Prepares images as squares of one size."""

    image_processor: Any

    def __call__(self, image: Image.Image, *_: Any) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        inputs = self.image_processor(images=[thickened(image)], return_tensors="pt")
        pixels = inputs["pixel_values"].numpy()
        height, width = inputs["reshaped_input_sizes"][0].tolist()
        return Prepared(pixels.shape, _PreparedImage(pixels, (height, width)))


class SamSegmenter(ChunkSegmenter[_Encoded]):
    """Segments what is in a box with SAM or SAM-HQ.

    Args:
        dtype: of the image encoder, which does most of the work. The decoder stays in float32: box corners need more
            digits than the shorter types have.
        boxes_per_chunk: how many boxes are decoded at once; halved where memory runs out.

    Raises:
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(
        self, options: SamOptions, *, device: str = "cpu", dtype: str = "float32", boxes_per_chunk: int = 64
    ) -> None:
        model, revision = options.model, options.revision
        model_type = load_config(model, revision, _CLASSES).model_type
        # PIL's processor resizes as the original does, and identically on machines with and without torchvision.
        self._processor = load_processor(SamImageProcessorPil, model, revision)
        self._model = load_model(_CLASSES[model_type], model, revision, device=device, dtype="float32")
        self._model.vision_encoder.to(getattr(torch, dtype))
        self._dtype = getattr(torch, dtype)
        super().__init__(
            checkpoint_identity("segmenter", model, revision), SamPreparer(self._processor), boxes_per_chunk
        )

    def _encode(self, prepared: Sequence[_PreparedImage], images: Sequence[Image.Image]) -> list[_Encoded]:
        device = self._model.device
        pixels = torch.cat([torch.from_numpy(item.pixels).to(device, self._dtype) for item in prepared])
        output = self._model.vision_encoder(pixels)
        embeddings = output.last_hidden_state.float()
        # SAM-HQ's decoder also uses earlier layers.
        layers = [layer.float() for layer in getattr(output, "intermediate_embeddings", ())]
        encoded = []
        for index, (image, item) in enumerate(zip(images, prepared, strict=True)):
            one = slice(index, index + 1)
            known = {"image_embeddings": embeddings[one]}
            known |= {"intermediate_embeddings": [layer[one] for layer in layers]} if layers else {}
            encoded.append(_Encoded(known, (image.height, image.width), item.input_hw))
        return encoded

    def _decode(self, encoded: _Encoded, boxes_xyxy: FloatArray) -> list[torch.Tensor]:
        boxes = torch.from_numpy(scale_boxes(boxes_xyxy, encoded.size_hw, encoded.input_hw)).float()
        output = self._model(
            **encoded.embeddings, input_boxes=boxes[None].to(self._model.device), multimask_output=False
        )
        padded_hw = (self._processor.pad_size["height"], self._processor.pad_size["width"])
        return pack_masks(
            output.pred_masks[0, :, 0],
            output.iou_scores[0, :, 0],
            encoded.size_hw,
            padding=(padded_hw, encoded.input_hw),
        )
