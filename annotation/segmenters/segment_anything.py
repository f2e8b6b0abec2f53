"""The segmenter ``segment-anything``: the original package with its checkpoints."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datasetkit.annotation.segmenters.chunks import ChunkSegmenter
from datasetkit.annotation.segmenters.masks import Size, pack_masks, scale_boxes
from datasetkit.core.detections import FloatArray
from datasetkit.core.errors import ModelError
from datasetkit.core.image import thickened
from datasetkit.core.protocols import Prepared
from datasetkit.core.text import first_line
from datasetkit.options.models import SegmentAnythingOptions
from datasetkit.runtime.loading import file_identity
from datasetkit.runtime.packages import SEGMENT_ANYTHING, TORCHVISION, require


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """An image as the decoder needs it: an embedding of shape (1, C, h, w).

    Sizes are those of the image, and of the image as the encoder saw it, without padding, px.
    """

    embedding: torch.Tensor
    size_hw: Size
    input_hw: Size


@dataclass(frozen=True, slots=True)
class SegmentAnythingPreparer:
    """Prepares images as arrays whose longest side is the encoder's; it normalises and pads them on the device."""

    resizing: Any

    def __call__(self, image: Image.Image, *_: Any) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        return Prepared(None, self.resizing.apply_image(np.asarray(thickened(image))))


class SegmentAnythingSegmenter(ChunkSegmenter[_Encoded]):
    """Segments what is in a box with SAM as its authors published it.

    Args:
        dtype: of the image encoder, which does most of the work. The decoder stays in float32, in which the package
            computes positions.
        boxes_per_chunk: how many boxes are decoded at once; halved where memory runs out.

    Raises:
        MissingPackageError: the package or torchvision is missing.
        ModelError: the weights cannot be loaded into the architecture.

    """

    def __init__(
        self, options: SegmentAnythingOptions, *, device: str = "cpu", dtype: str = "float32", boxes_per_chunk: int = 64
    ) -> None:
        require("segment-anything", TORCHVISION, SEGMENT_ANYTHING)
        from segment_anything.utils.transforms import ResizeLongestSide

        self._model = _load(options).to(device).eval()
        self._dtype = getattr(torch, dtype)
        self._model.image_encoder.to(self._dtype)
        preparer = SegmentAnythingPreparer(ResizeLongestSide(self._model.image_encoder.img_size))
        super().__init__(file_identity("segmenter", options.weights), preparer, boxes_per_chunk)

    def _encode(self, prepared: Sequence[NDArray[np.uint8]], images: Sequence[Image.Image]) -> list[_Encoded]:
        resized = [torch.from_numpy(array).permute(2, 0, 1).to(self._model.device) for array in prepared]
        pixels = torch.stack([self._model.preprocess(pixels) for pixels in resized])
        embeddings = self._model.image_encoder(pixels.to(self._dtype)).float()
        return [
            _Encoded(embeddings[index : index + 1], (image.height, image.width), (seen.shape[1], seen.shape[2]))
            for index, (image, seen) in enumerate(zip(images, resized, strict=True))
        ]

    def _decode(self, encoded: _Encoded, boxes_xyxy: FloatArray) -> list[torch.Tensor]:
        boxes = torch.from_numpy(scale_boxes(boxes_xyxy, encoded.size_hw, encoded.input_hw)).float()
        sparse, dense = self._model.prompt_encoder(points=None, boxes=boxes.to(self._model.device), masks=None)
        masks, predicted_ious = self._model.mask_decoder(
            image_embeddings=encoded.embedding,
            image_pe=self._model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        padded_hw = (self._model.image_encoder.img_size,) * 2
        return pack_masks(masks[:, 0], predicted_ious[:, 0], encoded.size_hw, padding=(padded_hw, encoded.input_hw))


def _load(options: SegmentAnythingOptions) -> Any:
    """Build one of the package's models and load its weights."""
    from segment_anything import sam_model_registry

    try:
        state = torch.load(options.weights, map_location="cpu", weights_only=True)
        model = sam_model_registry[options.architecture](checkpoint=None)
        model.load_state_dict(state)
    except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{options.weights} cannot be loaded as {options.architecture}: {first_line(error)}; "
            "use the checkpoint of that architecture"
        ) from error
    return model
