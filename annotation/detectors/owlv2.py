"""OWLv2 checkpoints through transformers. Owns how phrases become text queries, and the frame of the boxes.

Source: Minderer et al., Scaling Open-Vocabulary Object Detection, arXiv:2306.09683.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from datasetkit.annotation.detectors.boxes import corners_of, sift_boxes
from datasetkit.annotation.detectors.tokens import check_tokenizer, encode_prompts, text_offsets
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.options.models import Owlv2Options
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor


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
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        check_tokenizer(self._tokenizer, model)
        self._token_max = config.text_config.max_position_embeddings
        self._score_min = options.score_min
        self.identities = (checkpoint_identity("detector", model, revision),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect each image's query; see :class:`datasetkit.core.protocols.Detector`."""
        asked = [index for index, query in enumerate(queries) if query.spans]
        results: list[Detections | UnusableError] = [Detections(np.zeros((0, 4)), np.zeros((0, 0))) for _ in images]
        if asked:
            found = self._ask([images[index] for index in asked], [queries[index].phrases for index in asked])
            for index, result in zip(asked, found, strict=True):
                results[index] = result
        return results

    @torch.inference_mode()
    def _ask(
        self, images: Sequence[Image.Image], phrases: Sequence[tuple[str, ...]]
    ) -> list[Detections | UnusableError]:
        device, dtype = self._model.device, self._model.dtype
        widest = max(map(len, phrases))
        # The model needs the same number of texts for every image; its output for padding texts is not read.
        texts = [text for own in phrases for text in (*own, *[""] * (widest - len(own)))]
        encoded, offsets = encode_prompts(self._tokenizer, texts, self._token_max)
        prepared = self._image_processor(images=list(images), return_tensors="pt")
        output = self._model(
            pixel_values=prepared["pixel_values"].to(device, dtype),
            input_ids=encoded["input_ids"].to(device),
            attention_mask=encoded["attention_mask"].to(device),
        )
        logits, boxes = output.logits.float().cpu(), output.pred_boxes.cpu().double().numpy()
        probabilities = logits.sigmoid().double().numpy()
        # A phrase of which the tokenizer keeps nothing would be detected as an empty text.
        is_read = np.array([any(start < end for start, end in row) for row in offsets]).reshape(-1, widest)
        found: list[Detections | UnusableError] = []
        for row, (image, own) in enumerate(zip(images, phrases, strict=True)):
            if not (logits[row, :, : len(own)].isfinite().all() and np.isfinite(boxes[row]).all()):
                found.append(UnusableError(DropReason.NOT_FINITE, "the detector's logits or boxes are not finite"))
                continue
            scores = np.where(is_read[row], probabilities[row], 0.0)[:, : len(own)]
            # Images are padded to squares on the right and at the bottom; boxes are in shares of the square.
            corners = corners_of(boxes[row], (max(image.size), max(image.size)))
            found.append(sift_boxes(corners, scores, image.size, self._score_min, self._notices(own)))
        return found

    def _notices(self, phrases: Sequence[str]) -> tuple[NoticeKind, ...]:
        limit = self._token_max - self._tokenizer.num_special_tokens_to_add()
        is_cut = any(len(text_offsets(self._tokenizer, phrase)) > limit for phrase in phrases)
        return (NoticeKind.PHRASE_CUT,) if is_cut else ()
