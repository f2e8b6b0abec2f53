"""The original groundingdino-py package as a detector.

Owns how images and queries become the package's input, and which images may be batched together.

Source: Liu et al., Grounding DINO, arXiv:2303.05499.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from datasetkit.annotation.detectors.groundingdino_model import CONFIGS, build_model
from datasetkit.annotation.detectors.prompted import Answer, ask_alike, detect_in_turns, read_answer
from datasetkit.annotation.detectors.prompts import close_prompt
from datasetkit.annotation.detectors.tokens import encode_prompts, text_offsets
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.image import thickened
from datasetkit.options.models import GroundingDinoPyOptions
from datasetkit.runtime.loading import checkpoint_identity, file_identity

_SHORT_SIDE_PX = 800
_LONG_SIDE_MAX_PX = 1333
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# GroundingDINO.max_text_len of the package, whatever its configuration says.
_TOKEN_MAX = 256


class GroundingDinoPyDetector:
    """Runs the package unmodified, with transformers from 5.0 up to, not including, 6.0 (tested with 5.23).

    Images and captions are prepared as in the package: short side 800 px, long side at most 1333 px, lower case, a full
    stop at the end. Only images of one size with the same prompt go through the model together. Padding would change
    its output for an image; and with several prompts at once, the package gives each prompt the attention mask of
    another (``TransformerEncoderLayer`` repeats the masks per head where ``MultiheadAttention`` expects them per
    image). Its attention is plain torch, also on CUDA; half precision runs under autocast, since parts of it are
    written for float32.

    Raises:
        MissingPackageError: the package does not work here.
        ModelError: the version of transformers is not supported, or one of the parts is missing or does not fit.

    """

    def __init__(self, options: GroundingDinoPyOptions, *, device: str = "cpu", dtype: str = "float32") -> None:
        self._model: Any = build_model(options).to(device)
        self._tokenizer = self._model.tokenizer.tokenizer
        token_max = min(_TOKEN_MAX, self._model.bert.config.max_position_embeddings, self._tokenizer.model_max_length)
        self._token_limit = token_max - self._tokenizer.num_special_tokens_to_add()
        self._options = options
        self._device = torch.device(device)
        self._dtype = getattr(torch, dtype)
        text = checkpoint_identity("tokenizer", options.text_encoder, options.revision)
        digest = hashlib.sha256(self._tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        self.identities = (
            file_identity("detector", options.weights),
            *(() if options.config in CONFIGS else (file_identity("detector's configuration", Path(options.config)),)),
            replace(text, sha256=digest),
        )

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        offsets_of = partial(text_offsets, self._tokenizer)
        lowered = [lower_case(query) for query in queries]
        return detect_in_turns(images, lowered, self._ask, offsets_of, self._token_limit, self._options.score_min)

    def _ask(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Answer]:
        pixels = [_pixel_values(image) for image in images]
        return ask_alike(
            [(query.text, pixel.shape) for query, pixel in zip(queries, pixels, strict=True)],
            lambda rows: self._answers(
                torch.stack([pixels[row] for row in rows]),
                [images[row] for row in rows],
                [queries[row] for row in rows],
            ),
        )

    @torch.inference_mode()
    def _answers(self, pixels: torch.Tensor, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Answer]:
        """Run the model on images with one text and one size after preprocessing, shape (B, 3, H, W)."""
        prompt = close_prompt(queries[0].text)
        text, offsets = encode_prompts(self._tokenizer, [prompt])
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            output = self._model(pixels.to(self._device), captions=[prompt] * len(images))
        return [
            read_answer(logits, boxes, offsets[0], text["attention_mask"][0], image, query, self._options.reduction)
            for logits, boxes, image, query in zip(
                output["pred_logits"], output["pred_boxes"], images, queries, strict=True
            )
        ]


def lower_case(query: Query) -> Query:
    """Return a query in lower case, with its spans moved where characters become longer: "İ" becomes two characters."""

    def moved(place: int) -> int:
        return len(query.text[:place].lower())

    return Query(query.text.lower(), tuple((moved(start), moved(end)) for start, end in query.spans))


def _pixel_values(image: Image.Image) -> torch.Tensor:
    """Prepare an image as the package's ``load_image`` does; shape (3, H, W), RGB, float32."""
    from groundingdino.datasets import transforms

    scaled, _ = transforms.resize(thickened(image), None, _SHORT_SIDE_PX, _LONG_SIDE_MAX_PX)
    pixels, _ = transforms.ToTensor()(scaled, None)
    normalized, _ = transforms.Normalize(_MEAN, _STD)(pixels, None)
    return normalized
