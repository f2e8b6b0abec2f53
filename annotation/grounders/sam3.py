"""The grounder ``sam3``: SAM 3 through transformers, which returns boxes, masks and scores for a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import Sam3Model, Sam3Processor
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from datasetkit.annotation.detectors.tokens import readable
from datasetkit.annotation.segmenters.masks import resize, segment_of
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
        regions: list[Region] = []
        removals: list[Removal] = []
        notices: tuple[NoticeKind, ...] = ()
        for index, phrase in enumerate(query.phrases):
            tokens, is_cut = self._tokens(phrase)
            output = self._model(vision_embeds=vision, **tokens)
            said = (output.pred_logits, output.presence_logits, output.pred_boxes)
            if not all(bool(tensor.isfinite().all()) for tensor in said):
                return UnusableError(DropReason.NOT_FINITE, "the model's scores or boxes are not finite")
            for box, score, logits in self._found(output, image.size):
                number = len(regions) + len(removals)
                segment = segment_of(resize(logits, (image.height, image.width)), None)
                if isinstance(segment, UnusableError):
                    return segment
                if segment.mask is None:
                    removals.append(Removal(number, DropReason.EMPTY_MASK, f"the mask for {phrase!r} has no pixel"))
                    continue
                scores = tuple(score if other == index else 0.0 for other in range(len(query.spans)))
                regions.append(Region(number, box, scores, segment.mask, stability=segment.stability))
            if is_cut:
                notices = (NoticeKind.PHRASE_CUT,)
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

    def _found(self, output: Any, size_wh: tuple[int, int]) -> list[tuple[Box, float, torch.Tensor]]:
        """Return box (px), score and mask logits (h, w) of every detection of one phrase, the best first.

        The score is the query's times the phrase's presence, as in ``post_process_instance_segmentation`` of
        transformers. Masks are resized there after the sigmoid, here before it, as stability is measured on logits.
        """
        scores = (output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()).tolist()
        width, height = size_wh
        shares = output.pred_boxes[0].clamp(0.0, 1.0).cpu().double()
        boxes = (shares * torch.tensor([width, height, width, height])).tolist()
        found = []
        for index in sorted(range(len(scores)), key=lambda query: -scores[query]):
            left, top, right, bottom = boxes[index]
            if scores[index] >= self._score_min and left < right and top < bottom:
                found.append(((left, top, right, bottom), scores[index], output.pred_masks[0, index]))
        return found
