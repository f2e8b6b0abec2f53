"""What the detectors share that process all phrases in one prompt.

Owns how a long query is split over several calls, what of an image and its query is prepared, the merging of the calls'
answers, and how token logits become an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datasetkit.annotation.detectors.boxes import corners_of, sift_boxes
from datasetkit.annotation.detectors.prompts import Part, close_prompt, split_query
from datasetkit.annotation.detectors.spans import Reduction, span_scores, span_tokens
from datasetkit.annotation.detectors.tokens import Encoded, encode_prompt, text_offsets
from datasetkit.core.detections import Detections, FloatArray, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.mask import BoolArray

# Boxes, shape (Q, 4), px, and the scores of the query's phrases, shape (Q, P); None where the model's are not finite.
Answer = tuple[FloatArray, FloatArray] | None
_NO_PIXELS = np.zeros((1, 3, 0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One call of the model for one image.

    Args:
        prompt: the text.
        phrases: index of each of its phrases in the whole query.
        encoded: its tokens, T of them.
        spans: which token belongs to which phrase, shape (P, T), dtype bool.

    """

    prompt: str
    phrases: tuple[int, ...]
    encoded: Encoded
    spans: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image and its query as the model takes them.

    Args:
        size_wh: width and height of the image before preprocessing, px.
        pixels: shape (1, 3, H, W), dtype float32.
        phrase_count: number of phrases of the query.
        turns: one for each part of the query; none if it has no phrase.
        notices: what happened to the query.

    """

    size_wh: tuple[int, int]
    pixels: NDArray[np.float32]
    phrase_count: int
    turns: tuple[Turn, ...]
    notices: tuple[NoticeKind, ...]


# Calls the model on images, for the turn of each; images of one call have one key.
Ask = Callable[[Sequence[PreparedImage], Sequence[Turn]], Sequence[Answer]]


def prepare_prompt(
    pixels_of: Callable[[Image.Image], NDArray[np.float32]],
    tokenizer: Any,
    token_limit: int,
    image: Image.Image,
    query: Query,
) -> PreparedImage:
    """Prepare an image (mode RGB, upright) and its query, which is split as in :func:`split_query`.

    Args:
        pixels_of: returns pixels of shape (1, 3, H, W).
        tokenizer: one that passed :func:`check_tokenizer`.
        token_limit: maximum number of tokens of a prompt without special ones.
        image: the image.
        query: the query.

    """
    split = split_query(query, partial(text_offsets, tokenizer), token_limit)
    turns = tuple(_turn(tokenizer, part) for part in split.parts)
    pixels = pixels_of(image) if turns else _NO_PIXELS
    return PreparedImage(image.size, pixels, len(query.spans), turns, split.notices)


def _turn(tokenizer: Any, part: Part) -> Turn:
    prompt = close_prompt(part.query.text)
    encoded = encode_prompt(tokenizer, prompt)
    return Turn(prompt, part.phrases, encoded, span_tokens(encoded.offsets, part.query.spans))


def detect_in_turns(
    prepared: Sequence[PreparedImage],
    key_of: Callable[[PreparedImage, Turn], Hashable],
    ask: Ask,
    score_min: float,
) -> list[Detections | UnusableError]:
    """Detect each image's query, in as many calls as the longest query has parts.

    The merged boxes are those of the parts, one part after the other, with score 0 for phrases of other parts. An image
    whose answer is not finite is run again by itself: Grounding DINO subtracts the largest logit of a whole batch from
    all of them, so that one image's NaN spreads to all others.

    Args:
        prepared: what was prepared of each image.
        key_of: images of which this is equal may share a call.
        ask: calls the model.
        score_min: boxes with no phrase of at least this score are left out.

    """
    answers: list[list[Answer]] = [[] for _ in prepared]
    for number in range(max((len(item.turns) for item in prepared), default=0)):
        asked = [index for index, item in enumerate(prepared) if number < len(item.turns)]
        found = _ask_alike([(prepared[index], prepared[index].turns[number]) for index in asked], key_of, ask)
        for index, answer in zip(asked, found, strict=True):
            item = prepared[index]
            alone = answer is None and len(asked) > 1
            answers[index].append(ask([item], [item.turns[number]])[0] if alone else answer)
    return [_merged(item, own, score_min) for item, own in zip(prepared, answers, strict=True)]


def _ask_alike(
    pairs: Sequence[tuple[PreparedImage, Turn]], key_of: Callable[[PreparedImage, Turn], Hashable], ask: Ask
) -> list[Answer]:
    """Call ``ask`` once per distinct key; return the answers in the order of the pairs."""
    keys = [key_of(item, turn) for item, turn in pairs]
    answers: dict[int, Answer] = {}
    for key in dict.fromkeys(keys):
        rows = [row for row, own in enumerate(keys) if own == key]
        found = ask([pairs[row][0] for row in rows], [pairs[row][1] for row in rows])
        answers.update(zip(rows, found, strict=True))
    return [answers[row] for row in range(len(pairs))]


def read_answer(
    logits: torch.Tensor, boxes_cxcywh: torch.Tensor, turn: Turn, size_wh: tuple[int, int], reduction: Reduction
) -> Answer:
    """Convert a model's output for one image into an answer.

    Args:
        logits: of each box for each token, shape (Q, at least T).
        boxes_cxcywh: centre x and y, width and height; shape (Q, 4), shares of the image.
        turn: what the model was asked.
        size_wh: width and height of the image, px.
        reduction: how a phrase's score is computed from those of its tokens.

    """
    # Models pad logits with -inf: after each prompt's tokens, and up to the longest prompt that they accept.
    logits = logits[:, : turn.spans.shape[1]].float().cpu()
    boxes = boxes_cxcywh.cpu().double()
    if not (torch.isfinite(logits).all() and torch.isfinite(boxes).all()):
        return None
    return corners_of(boxes.numpy(), size_wh), span_scores(logits.sigmoid().numpy(), turn.spans, reduction)


def _merged(item: PreparedImage, answers: Sequence[Answer], score_min: float) -> Detections | UnusableError:
    boxes, scores = [np.zeros((0, 4))], [np.zeros((0, item.phrase_count))]
    for turn, answer in zip(item.turns, answers, strict=True):
        if answer is None:
            return UnusableError(DropReason.NOT_FINITE, "the detector's logits or boxes are not finite")
        wide = np.zeros((len(answer[0]), item.phrase_count))
        wide[:, turn.phrases] = answer[1]
        boxes.append(answer[0])
        scores.append(wide)
    return sift_boxes(np.concatenate(boxes), np.concatenate(scores), item.size_wh, score_min, item.notices)
