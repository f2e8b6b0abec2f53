"""The grounder ``sam3``: SAM 3 through transformers, which returns boxes, masks and scores for a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Sam3Model, Sam3Processor
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from datasetkit.annotation.detectors.tokens import readable
from datasetkit.annotation.segmenters.masks import pack_masks
from datasetkit.annotation.segmenters.packed import read_packed
from datasetkit.core.detections import Box, Grounding, Query, Region, Removal
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.options.models import Sam3Options
from datasetkit.runtime.batches import Batches
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor
from datasetkit.runtime.packages import TORCHVISION, require
from datasetkit.runtime.timers import Stages

# The published checkpoint is that of the video model, whose image part can be loaded separately.
_MODEL_TYPES = ("sam3", "sam3_video")


class Sam3Grounder:
    """Finds and segments phrases with SAM 3, one phrase at a time.

    Two phrases that find the same thing yield two regions; a region's score is 0 for all phrases except its own.

    Args:
        dtype: of the image encoder, which does most of the work; the rest stays in float32.
        stages: timers; ``ground`` is counted in images.

    Raises:
        MissingPackageError: torchvision is missing.
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(
        self, options: Sam3Options, *, device: str = "cpu", dtype: str = "float32", stages: Stages | None = None
    ) -> None:
        require("sam3", TORCHVISION)
        model, revision = options.model, options.revision
        load_config(model, revision, _MODEL_TYPES)
        self._processor = load_processor(Sam3Processor, model, revision)
        self._model = load_model(Sam3Model, model, revision, device=device, dtype="float32")
        self._dtype = getattr(torch, dtype)
        self._model.vision_encoder.to(self._dtype)
        self._score_min = options.score_min
        self._stages = stages or Stages()
        self.identities = (checkpoint_identity("grounder", model, revision),)

    @torch.inference_mode()
    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Ground each image's query, image by image; see :class:`datasetkit.core.protocols.Grounder`."""
        one_by_one: Batches[tuple[Image.Image, Query], Grounding | UnusableError] = Batches(
            lambda asked: [self._image(image, query) if query.spans else Grounding(()) for image, query in asked], 1
        )
        with self._stages.timed("ground", len(images)):
            return one_by_one.run(list(zip(images, queries, strict=True)))

    def _image(self, image: Image.Image, query: Query) -> Grounding | UnusableError:
        vision = self._encode(image)
        size_hw = (image.height, image.width)
        found: list[tuple[int, Box, float]] = []
        rows: list[torch.Tensor] = []
        notices: tuple[NoticeKind, ...] = ()
        for index, phrase in enumerate(query.phrases):
            tokens, is_cut = self._tokens(phrase)
            output = self._model(vision_embeds=vision, **tokens)
            detections = self._found(output, image.size)
            if isinstance(detections, UnusableError):
                return detections
            if detections:
                logits = output.pred_masks[0, [place for place, _, _ in detections]]
                rows += pack_masks(logits, logits.new_full((len(logits),), torch.nan), size_hw)
                found += [(index, box, score) for _, box, score in detections]
            if is_cut:
                notices = (NoticeKind.PHRASE_CUT,)
        segments = read_packed(torch.stack(rows).cpu().numpy(), size_hw) if rows else []
        regions: list[Region] = []
        removals: list[Removal] = []
        for number, ((index, box, score), segment) in enumerate(zip(found, segments, strict=True)):
            if isinstance(segment, UnusableError):
                return segment
            if segment.mask is None:
                detail = f"the mask for {query.phrases[index]!r} has no pixel"
                removals.append(Removal(number, DropReason.EMPTY_MASK, detail))
                continue
            scores = tuple(score if other == index else 0.0 for other in range(len(query.spans)))
            regions.append(Region(number, box, scores, segment.mask, stability=segment.stability))
        return Grounding(tuple(regions), tuple(removals), notices)

    def _encode(self, image: Image.Image) -> Sam3VisionEncoderOutput:
        inputs = self._processor(images=[image], return_tensors="pt")
        output = self._model.get_vision_features(inputs["pixel_values"].to(self._model.device, self._dtype))
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(level.float() for level in output.fpn_hidden_states),
            fpn_position_encoding=tuple(level.float() for level in output.fpn_position_encoding),
        )

    def _tokens(self, phrase: str) -> tuple[dict[str, torch.Tensor], bool]:
        """Return the ids and attention mask of a phrase, both of shape (1, T), and whether its end was cut off."""
        tokenizer = self._processor.tokenizer
        length = self._model.config.text_config.max_position_embeddings
        is_cut = len(tokenizer(readable(phrase), verbose=False)["input_ids"]) > length
        tokens = tokenizer(
            readable(phrase), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return {name: tokens[name].to(self._model.device) for name in ("input_ids", "attention_mask")}, is_cut

    def _found(self, output: Any, size_wh: tuple[int, int]) -> list[tuple[int, Box, float]] | UnusableError:
        """Return number, box (px) and score of every detection of one phrase, the best first, in one copy to the host.

        The score is the query's times the phrase's presence, as in ``post_process_instance_segmentation`` of
        transformers. Masks are resized there after the sigmoid, here before it, as stability is measured on logits.
        """
        said = (output.pred_logits, output.presence_logits, output.pred_boxes)
        is_finite = torch.stack([tensor.isfinite().all() for tensor in said]).all()
        scores = output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()
        shares = output.pred_boxes[0].clamp(0.0, 1.0)
        numbers = torch.cat([is_finite.float()[None], scores, shares.flatten()]).cpu().numpy().astype(np.float64)
        if not numbers[0]:
            return UnusableError(DropReason.NOT_FINITE, "the model's scores or boxes are not finite")
        score_of, corners = numbers[1 : 1 + len(scores)].tolist(), numbers[1 + len(scores) :].reshape(-1, 2, 2)
        found: list[tuple[int, Box, float]] = []
        for index in sorted(range(len(score_of)), key=lambda query: -score_of[query]):
            left, top, right, bottom = (corners[index] * size_wh).ravel().tolist()
            if score_of[index] >= self._score_min and left < right and top < bottom:
                found.append((index, (left, top, right, bottom), score_of[index]))
        return found
