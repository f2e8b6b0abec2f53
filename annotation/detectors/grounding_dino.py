"""GroundingDINO and MM-GroundingDINO checkpoints through transformers.

Owns how images and prompts become the models' input, and which of them are batched together.

Sources: Liu et al., Grounding DINO, arXiv:2303.05499; Zhao et al., MM-Grounding-DINO, arXiv:2401.02361.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from datasetkit.annotation.detectors.prompted import Answer, ask_alike, detect_in_turns, read_answer
from datasetkit.annotation.detectors.prompts import close_prompt
from datasetkit.annotation.detectors.tokens import check_tokenizer, encode_prompts, text_offsets
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.image import thickened
from datasetkit.options.models import GroundingDinoOptions
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor

_MODEL_TYPES = ("grounding-dino", "mm-grounding-dino")


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
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        check_tokenizer(self._tokenizer, model)
        positions = config.text_config.max_position_embeddings
        token_max = min(config.max_text_len, positions, self._tokenizer.model_max_length)
        self._token_limit = token_max - self._tokenizer.num_special_tokens_to_add()
        self._options = options
        self.identities = (checkpoint_identity("detector", model, revision),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        offsets_of = partial(text_offsets, self._tokenizer)
        return detect_in_turns(images, queries, self._ask, offsets_of, self._token_limit, self._options.score_min)

    def _ask(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Answer]:
        pixels = [
            self._image_processor(images=thickened(image), do_pad=False, return_tensors="pt")["pixel_values"]
            for image in images
        ]
        return ask_alike(
            [pixel.shape for pixel in pixels],
            lambda rows: self._answers(
                torch.cat([pixels[row] for row in rows]), [images[row] for row in rows], [queries[row] for row in rows]
            ),
        )

    @torch.inference_mode()
    def _answers(self, pixels: torch.Tensor, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Answer]:
        """Run the model on images that have one size after preprocessing, shape (B, 3, H, W)."""
        device, dtype = self._model.device, self._model.dtype
        text, offsets = encode_prompts(self._tokenizer, [close_prompt(query.text) for query in queries])
        output = self._model(
            pixel_values=pixels.to(device, dtype), **{name: tensor.to(device) for name, tensor in text.items()}
        )
        return [
            read_answer(logits, boxes, spans, words, image, query, self._options.reduction)
            for logits, boxes, spans, words, image, query in zip(
                output.logits, output.pred_boxes, offsets, text["attention_mask"], images, queries, strict=True
            )
        ]
