"""The original groundingdino-py package as a detector.

Owns how images and queries become the package's input, and which images may be batched together.

Source: Liu et al., Grounding DINO, arXiv:2303.05499.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datasetkit.annotation.detectors.groundingdino_model import CONFIGS, build_model
from datasetkit.annotation.detectors.prompted import (
    Answer,
    PreparedImage,
    Turn,
    detect_in_turns,
    prepare_prompt,
    read_answer,
)
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.image import thickened
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import GroundingDinoPyOptions
from datasetkit.runtime.loading import checkpoint_identity, file_identity

_SHORT_SIDE_PX = 800
_LONG_SIDE_MAX_PX = 1333
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# GroundingDINO.max_text_len of the package, whatever its configuration says.
_TOKEN_MAX = 256


@dataclass(frozen=True, slots=True)
class GroundingDinoPyPreparer:
    """Prepares images at the package's size, and prompts as tokens of their lower case."""

    tokenizer: Any
    token_limit: int

    def __call__(self, image: Image.Image, query: Query) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        item = prepare_prompt(_pixel_values, self.tokenizer, self.token_limit, image, lower_case(query))
        return Prepared((item.pixels.shape, *(turn.prompt for turn in item.turns)), item)


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
        tokenizer = self._model.tokenizer.tokenizer
        token_max = min(_TOKEN_MAX, self._model.bert.config.max_position_embeddings, tokenizer.model_max_length)
        self.preparer = GroundingDinoPyPreparer(tokenizer, token_max - tokenizer.num_special_tokens_to_add())
        self._options = options
        self._device = torch.device(device)
        self._dtype = getattr(torch, dtype)
        text = checkpoint_identity("tokenizer", options.text_encoder, options.revision)
        digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        self.identities = (
            file_identity("detector", options.weights),
            *(() if options.config in CONFIGS else (file_identity("detector's configuration", Path(options.config)),)),
            replace(text, sha256=digest),
        )

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        prepared = [self.preparer(image, query).value for image, query in zip(images, queries, strict=True)]
        return self.forward(prepared, images, queries)

    def forward(self, prepared: Sequence[PreparedImage], *_: Any) -> list[Detections | UnusableError]:
        """Run the model; see :class:`datasetkit.core.protocols.PreparedModel`."""
        return detect_in_turns(
            prepared, lambda item, turn: (turn.prompt, item.pixels.shape), self._ask, self._options.score_min
        )

    @torch.inference_mode()
    def _ask(self, items: Sequence[PreparedImage], turns: Sequence[Turn]) -> list[Answer]:
        """Run the model on images with one text and one size after preprocessing."""
        pixels = torch.cat([torch.from_numpy(item.pixels).to(self._device) for item in items])
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            output = self._model(pixels, captions=[turn.prompt for turn in turns])
        return [
            read_answer(logits, boxes, turn, item.size_wh, self._options.reduction)
            for logits, boxes, turn, item in zip(output["pred_logits"], output["pred_boxes"], turns, items, strict=True)
        ]


def lower_case(query: Query) -> Query:
    """Return a query in lower case, with its spans moved where characters become longer: "İ" becomes two characters."""

    def moved(place: int) -> int:
        return len(query.text[:place].lower())

    return Query(query.text.lower(), tuple((moved(start), moved(end)) for start, end in query.spans))


def _pixel_values(image: Image.Image) -> NDArray[np.float32]:
    """Prepare an image as the package's ``load_image`` does; shape (1, 3, H, W), RGB."""
    from groundingdino.datasets import transforms

    scaled, _ = transforms.resize(thickened(image), None, _SHORT_SIDE_PX, _LONG_SIDE_MAX_PX)
    pixels, _ = transforms.ToTensor()(scaled, None)
    normalized, _ = transforms.Normalize(_MEAN, _STD)(pixels, None)
    pixel_values: NDArray[np.float32] = normalized[None].numpy()
    return pixel_values
