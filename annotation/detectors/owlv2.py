"""OWLv2 checkpoints through transformers. Owns how phrases become text queries, and the frame of the boxes.

Source: Minderer et al., Scaling Open-Vocabulary Object Detection, arXiv:2306.09683.
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

from datasetkit.annotation.detectors.boxes import corners_of, sift_boxes
from datasetkit.annotation.detectors.tokens import Encoded, check_tokenizer, encode_prompt, pad_right, text_offsets
from datasetkit.core.detections import Detections, FloatArray, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import Owlv2Options
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedImage:
    """An image and its phrases as the model takes them.

    Args:
        size_wh: width and height of the image before preprocessing, px.
        pixels: shape (1, 3, S, S), dtype float32.
        texts: one for each phrase.
        notices: what happened to the phrases.

    """

    size_wh: tuple[int, int]
    pixels: NDArray[np.float32]
    texts: tuple[Encoded, ...]
    notices: tuple[NoticeKind, ...]


@dataclass(frozen=True, slots=True)
class Owlv2Preparer:
    """Prepares images as squares of one size, and each phrase as a text of its own."""

    image_processor: Any
    tokenizer: Any
    token_max: int

    def __call__(self, image: Image.Image, query: Query) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        pixels = self.image_processor(images=[image], return_tensors="pt")["pixel_values"].numpy()
        texts = tuple(encode_prompt(self.tokenizer, phrase, self.token_max) for phrase in query.phrases)
        limit = self.token_max - self.tokenizer.num_special_tokens_to_add()
        is_cut = any(len(text_offsets(self.tokenizer, phrase)) > limit for phrase in query.phrases)
        notices = (NoticeKind.PHRASE_CUT,) if is_cut else ()
        return Prepared(pixels.shape, _PreparedImage(image.size, pixels, texts, notices))


class Owlv2Detector:
    """Detects each phrase on its own; the words around the phrases are not read.

    Raises:
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(self, options: Owlv2Options, *, device: str = "cpu", dtype: str = "float32") -> None:
        model, revision = options.model, options.revision
        config = load_config(model, revision, ("owlv2",))
        self._model = load_model(AutoModelForZeroShotObjectDetection, model, revision, device=device, dtype=dtype)
        processor = load_processor(AutoProcessor, model, revision)
        check_tokenizer(processor.tokenizer, model)
        token_max = config.text_config.max_position_embeddings
        self.preparer = Owlv2Preparer(processor.image_processor, processor.tokenizer, token_max)
        # The model needs the same number of texts for every image; its output for padding texts is not read.
        self._no_text = encode_prompt(processor.tokenizer, "", token_max)
        self._score_min = options.score_min
        self.identities = (checkpoint_identity("detector", model, revision),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        pairs = list(zip(images, queries, strict=True))
        asked = [index for index, (_, query) in enumerate(pairs) if query.spans]
        found = self.forward([self.preparer(*pairs[index]).value for index in asked]) if asked else []
        results: list[Detections | UnusableError] = [Detections(np.zeros((0, 4)), np.zeros((0, 0))) for _ in pairs]
        for index, result in zip(asked, found, strict=True):
            results[index] = result
        return results

    @torch.inference_mode()
    def forward(self, prepared: Sequence[_PreparedImage], *_: Any) -> list[Detections | UnusableError]:
        """Run the model; see :class:`datasetkit.core.protocols.PreparedModel`."""
        device, dtype = self._model.device, self._model.dtype
        widest = max(len(item.texts) for item in prepared)
        texts = [text for item in prepared for text in (*item.texts, *[self._no_text] * (widest - len(item.texts)))]
        encoded = pad_right(texts)
        output = self._model(
            pixel_values=torch.cat([torch.from_numpy(item.pixels).to(device, dtype) for item in prepared]),
            input_ids=encoded["input_ids"].to(device),
            attention_mask=encoded["attention_mask"].to(device),
        )
        logits, boxes = output.logits.float().cpu(), output.pred_boxes.cpu().double().numpy()
        return [self._found(*row) for row in zip(prepared, logits, boxes, strict=True)]

    def _found(self, item: _PreparedImage, logits: torch.Tensor, boxes: FloatArray) -> Detections | UnusableError:
        """Convert the model's output for one image: logits of shape (Q, at least P), boxes of shape (Q, 4)."""
        logits = logits[:, : len(item.texts)]
        if not (logits.isfinite().all() and np.isfinite(boxes).all()):
            return UnusableError(DropReason.NOT_FINITE, "the detector's logits or boxes are not finite")
        # A phrase of which the tokenizer keeps nothing would be detected as an empty text.
        is_read = np.array([any(start < end for start, end in text.offsets) for text in item.texts])
        scores = np.where(is_read, logits.sigmoid().double().numpy(), 0.0)
        # Images are padded to squares on the right and at the bottom; boxes are in shares of the square.
        side = max(item.size_wh)
        return sift_boxes(corners_of(boxes, (side, side)), scores, item.size_wh, self._score_min, item.notices)
