"""How similar a crop of an image is to a phrase. Owns the crop, and the score of CLIP and SigLIP models.

The score is max(cos(image, text), 0), which is CLIPScore (Hessel et al., 2021, https://arxiv.org/abs/2104.08718)
without its factor of 2.5, with which it would leave [0, 1]. Models differ in how high the score gets: a threshold
belongs to one model. SigLIP's probability, a sigmoid of a scaled cosine, is not used: it is close to 0 or 1 for most
pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoModel, AutoProcessor

from datasetkit.annotation.detectors.tokens import readable
from datasetkit.core.detections import Box, FloatArray
from datasetkit.options.models import SimilarityOptions
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor

_MODEL_TYPES = ("clip", "siglip", "siglip2")


def crop_of(image: Image.Image, box_xyxy: Box, margin: float = 0.1) -> Image.Image:
    """Crop a box out of an image, with a margin around it.

    Args:
        image: mode RGB, upright.
        box_xyxy: left, top, right, bottom, px, inside the image.
        margin: width added on each side, as a share of the box's width or height.

    Returns:
        mode RGB; every pixel that the widened box touches, at least one.

    """
    left, top, right, bottom = box_xyxy
    wide, high = margin * (right - left), margin * (bottom - top)
    first_x = min(max(math.floor(left - wide), 0), image.width - 1)
    first_y = min(max(math.floor(top - high), 0), image.height - 1)
    end_x = min(max(math.ceil(right + wide), first_x + 1), image.width)
    end_y = min(max(math.ceil(bottom + high), first_y + 1), image.height)
    return image.crop((first_x, first_y, end_x, end_y))


class ImageTextCropScorer:
    """Compares crops with phrases by a CLIP, SigLIP or SigLIP 2 model. Phrases too long for its text tower are cut.

    Args:
        dtype: of weights and activations; the cosine is computed in float32.

    Raises:
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(self, options: SimilarityOptions, *, device: str = "cpu", dtype: str = "float32") -> None:
        model, revision = options.model, options.revision
        self._is_clip = load_config(model, revision, _MODEL_TYPES).model_type == "clip"
        self._processor = load_processor(AutoProcessor, model, revision)
        self._model = load_model(AutoModel, model, revision, device=device, dtype=dtype)
        self.identities = (checkpoint_identity("similarity", model, revision),)

    @torch.inference_mode()
    def score(self, crops: Sequence[Image.Image], phrases: Sequence[str]) -> FloatArray:
        """Return the similarity of each crop to its phrase; see :class:`datasetkit.core.protocols.CropScorer`."""
        if len(crops) != len(phrases):
            raise ValueError(f"{len(crops)} crops and {len(phrases)} phrases; pass one phrase per crop")
        if not crops:
            return np.zeros(0)
        pixels = self._processor.image_processor(images=list(crops), return_tensors="pt")
        pixels = pixels.to(self._model.device, self._model.dtype)
        texts = self._processor.tokenizer(
            [readable(phrase) for phrase in phrases],
            padding="longest" if self._is_clip else "max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._model.device)
        # SigLIP was trained on texts of one length, without an attention mask over the padding.
        mask = {"attention_mask": texts["attention_mask"]} if self._is_clip else {}
        outputs = (
            self._model.get_image_features(**pixels),
            self._model.get_text_features(input_ids=texts["input_ids"], **mask),
        )
        image_directions, text_directions = (normalize(output.pooler_output.float(), dim=-1) for output in outputs)
        return (image_directions * text_directions).sum(dim=-1).clamp(0, 1).cpu().double().numpy()
