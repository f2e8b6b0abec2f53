"""GroundingDINO and MM-GroundingDINO checkpoints through transformers.

Owns how a query becomes prompts, and how logits over their tokens become scores of its phrases.

Sources: Liu et al., Grounding DINO, arXiv:2303.05499; Zhao et al., MM-Grounding-DINO, arXiv:2401.02361.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from annotation.detectors.boxes import corners_of, sift_boxes, thickened
from annotation.detectors.prompts import Parts, close_prompt, split_query
from annotation.detectors.spans import Reduction, span_scores, span_tokens
from annotation.detectors.tokens import check_tokenizer, encode_prompts, text_offsets
from annotation.loading import checkpoint_identity, load_model, load_processor
from datasetkit.errors import ModelError, UnusableError
from datasetkit.ledger import DropReason
from datasetkit.models import Detections, FloatArray, Query

_ARCHITECTURES = ("grounding-dino", "mm-grounding-dino")
_Found = tuple[FloatArray, FloatArray]


class GroundingDinoDetector:
    """Asks for all phrases of a query in one prompt; a longer prompt than the model takes is split and merged.

    The merged boxes are those of the parts, one part after the other, with score 0 for phrases of other parts. All
    pictures of a batch go through the model together, once for each part of the longest prompt. Where these are of one
    size, the answers are those to single pictures, up to rounding. Smaller ones are padded to the largest of the batch,
    which the model was trained with but sees: a quarter of padding moved the scores of toyworld's best boxes by 0.025
    on average and 0.14 at most, and 0.5 % of the boxes.

    Args:
        model: Hub id, local folder, or the name of a shipped model.
        revision: commit, tag or branch on the Hub.
        score_min: boxes with no phrase above it are not given.
        reduction: a phrase's score is the ``mean`` or the ``max`` of the probabilities of its tokens.
        device: as torch names it.
        dtype: name of a floating type of torch.

    Raises:
        ModelError: the model cannot be loaded, or is of another architecture.

    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        *,
        score_min: float = 0.3,
        reduction: Reduction = "mean",
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        self._model = load_model(AutoModelForZeroShotObjectDetection, model, revision, device=device, dtype=dtype)
        config = self._model.config
        if config.model_type not in _ARCHITECTURES:
            raise ModelError(f"{model} is a {config.model_type} model; give one of {', '.join(_ARCHITECTURES)}")
        processor = load_processor(AutoProcessor, model, revision)
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        check_tokenizer(self._tokenizer, model)
        positions = config.text_config.max_position_embeddings
        token_max = min(config.max_text_len, positions, self._tokenizer.model_max_length)
        self._token_limit = token_max - self._tokenizer.num_special_tokens_to_add()
        self._score_min = score_min
        self._reduction: Reduction = reduction
        self.identities = (checkpoint_identity("detector", model, self._model),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Look for each picture's own query; see :class:`datasetkit.models.Detector`."""
        splits = [split_query(query, partial(text_offsets, self._tokenizer), self._token_limit) for query in queries]
        answers: list[list[_Found | None]] = [[] for _ in images]
        for turn in range(max((len(split.parts) for split in splits), default=0)):
            asked = [index for index, split in enumerate(splits) if turn < len(split.parts)]
            found = self._ask([images[index] for index in asked], [splits[index].parts[turn].query for index in asked])
            for index, answer in zip(asked, found, strict=True):
                answers[index].append(answer)
        return [
            self._merged(image, len(query.spans), split, answer)
            for image, query, split, answer in zip(images, queries, splits, answers, strict=True)
        ]

    def _ask(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[_Found | None]:
        """Give each picture's boxes (Q, 4), px, and scores (Q, P); None where the answer is not finite."""
        found = self._answers(images, queries)
        if len(found) == 1:
            return found
        # The model subtracts the largest logit of the whole batch from all of them (for its softmax), so that one
        # picture's NaN becomes everybody's.
        return [
            self._answers([image], [query])[0] if answer is None else answer
            for image, query, answer in zip(images, queries, found, strict=True)
        ]

    @torch.inference_mode()
    def _answers(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[_Found | None]:
        device, dtype = self._model.device, self._model.dtype
        text, offsets = encode_prompts(self._tokenizer, [close_prompt(query.text) for query in queries])
        thick = [thickened(image) for image in images]
        pictures = self._image_processor(images=thick, do_pad=True, return_tensors="pt")
        output = self._model(
            pixel_values=pictures["pixel_values"].to(device, dtype),
            pixel_mask=pictures["pixel_mask"].to(device),
            **{name: tensor.to(device) for name, tensor in text.items()},
        )
        boxes = output.pred_boxes.double().cpu().numpy()
        # Logits are -inf behind each prompt's tokens, and go on so up to the longest prompt that the model takes.
        logits = output.logits[..., : text["input_ids"].shape[1]].float().cpu().numpy()
        lengths = text["attention_mask"].sum(1).tolist()
        return [
            self._scored(image, query, boxes[row], logits[row, :, : lengths[row]], offsets[row][: lengths[row]])
            for row, (image, query) in enumerate(zip(images, queries, strict=True))
        ]

    def _scored(
        self,
        image: Image.Image,
        query: Query,
        boxes_cxcywh: FloatArray,
        logits: NDArray[np.float32],
        offsets: Sequence[tuple[int, int]],
    ) -> _Found | None:
        """Read the answer for one picture: boxes (Q, 4), shares of it, and logits (Q, T) of its prompt's tokens."""
        if not (np.isfinite(logits).all() and np.isfinite(boxes_cxcywh).all()):
            return None
        scores = span_scores(expit(logits), span_tokens(offsets, query.spans), self._reduction)
        return corners_of(boxes_cxcywh, image.size), scores

    def _merged(
        self, image: Image.Image, phrases: int, split: Parts, answers: Sequence[_Found | None]
    ) -> Detections | UnusableError:
        """Put the answers to the parts of one query together."""
        boxes, scores = [np.zeros((0, 4))], [np.zeros((0, phrases))]
        for part, answer in zip(split.parts, answers, strict=True):
            if answer is None:
                return UnusableError(DropReason.NOT_FINITE, "the detector's logits or boxes are not finite")
            wide = np.zeros((len(answer[0]), phrases))
            wide[:, part.phrases] = answer[1]
            boxes.append(answer[0])
            scores.append(wide)
        return sift_boxes(np.concatenate(boxes), np.concatenate(scores), image.size, self._score_min, split.notices)
