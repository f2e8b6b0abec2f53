"""The grounder ``sam3``: SAM 3 through transformers, which returns boxes, masks and scores for a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import Sam3Model, Sam3Processor
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from datasetkit.annotation.detectors.tokens import readable
from datasetkit.annotation.segmenters.masks import pack_masks
from datasetkit.annotation.segmenters.packed import read_packed
from datasetkit.core.detections import Box, Grounding, Query, Region, Removal
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import Sam3Options
from datasetkit.runtime.batches import Batches
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor
from datasetkit.runtime.packages import TORCHVISION, require

# The published checkpoint is that of the video model, whose image part can be loaded separately.
_MODEL_TYPES = ("sam3", "sam3_video")


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedImage:
    """An image and its phrases as the model takes them.

    Args:
        pixels: shape (1, 3, S, S), dtype float32.
        tokens: ids and attention mask of each phrase, each of shape (1, T).
        notices: what happened to the phrases.

    """

    pixels: NDArray[np.float32]
    tokens: tuple[dict[str, NDArray[np.int64]], ...]
    notices: tuple[NoticeKind, ...]


@dataclass(frozen=True, slots=True)
class Sam3Preparer:
    """Prepares images as squares of one size, and each phrase as a text of its own, of at most ``token_max`` tokens."""

    processor: Any
    token_max: int

    def __call__(self, image: Image.Image, query: Query) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        pixels = self.processor(images=[image], return_tensors="pt")["pixel_values"].numpy()
        tokenizer = self.processor.tokenizer
        texts = [readable(phrase) for phrase in query.phrases]
        is_cut = any(len(tokenizer(text, verbose=False)["input_ids"]) > self.token_max for text in texts)
        tokens = tuple(
            tokenizer(text, padding="max_length", max_length=self.token_max, truncation=True, return_tensors="np")
            for text in texts
        )
        names = ("input_ids", "attention_mask")
        own = tuple({name: text[name].astype(np.int64) for name in names} for text in tokens)
        return Prepared(None, _PreparedImage(pixels, own, (NoticeKind.PHRASE_CUT,) if is_cut else ()))


class Sam3Grounder:
    """Finds and segments phrases with SAM 3, one phrase at a time.

    Two phrases that find the same thing yield two regions; a region's score is 0 for all phrases except its own.

    Args:
        dtype: of the image encoder, which does most of the work; the rest stays in float32.

    Raises:
        MissingPackageError: torchvision is missing.
        ModelError: the model cannot be loaded, or has another architecture.

    """

    def __init__(self, options: Sam3Options, *, device: str = "cpu", dtype: str = "float32") -> None:
        require("sam3", TORCHVISION)
        model, revision = options.model, options.revision
        load_config(model, revision, _MODEL_TYPES)
        processor = load_processor(Sam3Processor, model, revision)
        self._model = load_model(Sam3Model, model, revision, device=device, dtype="float32")
        self._dtype = getattr(torch, dtype)
        self._model.vision_encoder.to(self._dtype)
        self.preparer = Sam3Preparer(processor, self._model.config.text_config.max_position_embeddings)
        self._score_min = options.score_min
        self.identities = (checkpoint_identity("grounder", model, revision),)

    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Ground each image's query; see :class:`datasetkit.core.protocols.Grounder`."""
        one_by_one: Batches[tuple[Image.Image, Query], Grounding] = Batches(
            lambda pairs: self.forward([self.preparer(*pair).value for pair in pairs], *zip(*pairs, strict=True)), 1
        )
        return one_by_one.run(list(zip(images, queries, strict=True)))

    @torch.inference_mode()
    def forward(
        self, prepared: Sequence[_PreparedImage], images: Sequence[Image.Image], queries: Sequence[Query]
    ) -> list[Grounding | UnusableError]:
        """Run the model, image by image; see :class:`datasetkit.core.protocols.PreparedModel`."""
        return [self._image(*row) for row in zip(prepared, images, queries, strict=True)]

    def _image(self, item: _PreparedImage, image: Image.Image, query: Query) -> Grounding | UnusableError:
        if not query.spans:
            return Grounding(())
        vision = self._encode(item.pixels)
        size_hw = (image.height, image.width)
        found: list[tuple[int, Box, float]] = []
        rows: list[torch.Tensor] = []
        for index, tokens in enumerate(item.tokens):
            output = self._model(
                vision_embeds=vision,
                **{name: torch.from_numpy(array).to(self._model.device) for name, array in tokens.items()},
            )
            detections = self._found(output, image.size)
            if isinstance(detections, UnusableError):
                return detections
            if detections:
                logits = output.pred_masks[0, [place for place, _, _ in detections]]
                rows += pack_masks(logits, logits.new_full((len(logits),), torch.nan), size_hw)
                found += [(index, box, score) for _, box, score in detections]
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
        return Grounding(tuple(regions), tuple(removals), item.notices)

    def _encode(self, pixels: NDArray[np.float32]) -> Sam3VisionEncoderOutput:
        output = self._model.get_vision_features(torch.from_numpy(pixels).to(self._model.device, self._dtype))
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(level.float() for level in output.fpn_hidden_states),
            fpn_position_encoding=tuple(level.float() for level in output.fpn_position_encoding),
        )

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
