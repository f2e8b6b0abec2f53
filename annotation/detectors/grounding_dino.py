"""GroundingDINO and MM-GroundingDINO checkpoints through transformers.

Owns how images and prompts become the models' input, and which of them are batched together.

Sources: Liu et al., Grounding DINO, arXiv:2303.05499; Zhao et al., MM-Grounding-DINO, arXiv:2401.02361.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from datasetkit.annotation.detectors.prompted import (
    Answer,
    PreparedImage,
    Turn,
    detect_in_turns,
    prepare_prompt,
    read_answer,
)
from datasetkit.annotation.detectors.tokens import check_tokenizer, pad_right
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.image import thickened
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import GroundingDinoOptions
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor

_MODEL_TYPES = ("grounding-dino", "mm-grounding-dino")


@dataclass(frozen=True, slots=True)
class GroundingDinoPreparer:
    """Prepares images at the size that the processor chooses, without padding, and prompts as tokens."""

    image_processor: Any
    tokenizer: Any
    token_limit: int

    def __call__(self, image: Image.Image, query: Query) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        item = prepare_prompt(self._pixels, self.tokenizer, self.token_limit, image, query)
        return Prepared(item.pixels.shape, item)

    def _pixels(self, image: Image.Image) -> NDArray[np.float32]:
        inputs = self.image_processor(images=thickened(image), do_pad=False, return_tensors="pt")
        pixels: NDArray[np.float32] = inputs["pixel_values"].numpy()
        return pixels


class GroundingDinoDetector:
    """Detects all phrases of a query with one prompt; a prompt that is too long for the model is split and merged.

    The merged boxes are those of the parts, one part after the other, with score 0 for phrases of other parts. Images
    that have one size after preprocessing go through the model together. Padding would allow more, but then the model's
    output for an image would depend on the other images of the batch.

    Raises:
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(self, options: GroundingDinoOptions, *, device: str = "cpu", dtype: str = "float32") -> None:
        model, revision = options.model, options.revision
        config = load_config(model, revision, _MODEL_TYPES)
        self._model = load_model(AutoModelForZeroShotObjectDetection, model, revision, device=device, dtype=dtype)
        processor = load_processor(AutoProcessor, model, revision)
        tokenizer = processor.tokenizer
        check_tokenizer(tokenizer, model)
        positions = config.text_config.max_position_embeddings
        token_max = min(config.max_text_len, positions, tokenizer.model_max_length)
        token_limit = token_max - tokenizer.num_special_tokens_to_add()
        self.preparer = GroundingDinoPreparer(processor.image_processor, tokenizer, token_limit)
        self._options = options
        self.identities = (checkpoint_identity("detector", model, revision),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        prepared = [self.preparer(image, query).value for image, query in zip(images, queries, strict=True)]
        return self.forward(prepared, images, queries)

    def forward(self, prepared: Sequence[PreparedImage], *_: Any) -> list[Detections | UnusableError]:
        """Run the model; see :class:`datasetkit.core.protocols.PreparedModel`."""
        return detect_in_turns(prepared, lambda item, _: item.pixels.shape, self._ask, self._options.score_min)

    @torch.inference_mode()
    def _ask(self, items: Sequence[PreparedImage], turns: Sequence[Turn]) -> list[Answer]:
        """Run the model on images that have one size after preprocessing."""
        device, dtype = self._model.device, self._model.dtype
        pixels = torch.cat([torch.from_numpy(item.pixels).to(device, dtype) for item in items])
        text = pad_right([turn.encoded for turn in turns])
        output = self._model(pixel_values=pixels, **{name: tensor.to(device) for name, tensor in text.items()})
        return [
            read_answer(logits, boxes, turn, item.size_wh, self._options.reduction)
            for logits, boxes, turn, item in zip(output.logits, output.pred_boxes, turns, items, strict=True)
        ]
