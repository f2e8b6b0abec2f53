"""What the detectors share that process all phrases in one prompt.

Owns how a long query is split over several calls, the merging of their answers, and how token logits become an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from PIL import Image

from datasetkit.annotation.detectors.boxes import corners_of, sift_boxes
from datasetkit.annotation.detectors.prompts import Parts, TextOffsets, split_query
from datasetkit.annotation.detectors.spans import Reduction, Span, span_scores, span_tokens
from datasetkit.core.detections import Detections, FloatArray, Query
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason

# Boxes, shape (Q, 4), px, and the scores of the query's phrases, shape (Q, P); None where the model's are not finite.
Answer = tuple[FloatArray, FloatArray] | None
Ask = Callable[[Sequence[Image.Image], Sequence[Query]], Sequence[Answer]]


def detect_in_turns(
    images: Sequence[Image.Image],
    queries: Sequence[Query],
    ask: Ask,
    offsets_of: TextOffsets,
    token_limit: int,
    score_min: float,
) -> list[Detections | UnusableError]:
    """Detect each image's query (image: mode RGB, upright), in as many calls as the longest query has parts.

    The merged boxes are those of the parts, one part after the other, with score 0 for phrases of other parts. An image
    whose answer is not finite is run again by itself: Grounding DINO subtracts the largest logit of a whole batch from
    all of them, so that one image's NaN spreads to all others.

    Queries are split by ``offsets_of`` and ``token_limit`` as in :func:`split_query`; ``ask`` is called with the parts.
    Boxes with no phrase of at least ``score_min`` are left out.
    """
    splits = [split_query(query, offsets_of, token_limit) for query in queries]
    answers: list[list[Answer]] = [[] for _ in images]
    for turn in range(max((len(split.parts) for split in splits), default=0)):
        asked = [index for index, split in enumerate(splits) if turn < len(split.parts)]
        parts = [splits[index].parts[turn].query for index in asked]
        found = ask([images[index] for index in asked], parts)
        for index, part, answer in zip(asked, parts, found, strict=True):
            alone = answer is None and len(asked) > 1
            answers[index].append(ask([images[index]], [part])[0] if alone else answer)
    return [
        _merged(image, len(query.spans), split, answer, score_min)
        for image, query, split, answer in zip(images, queries, splits, answers, strict=True)
    ]


def ask_alike(keys: Sequence[Hashable], ask: Callable[[list[int]], Sequence[Answer]]) -> list[Answer]:
    """Call ``ask`` once per distinct key, with the indices that have it; return answers in the order of ``keys``."""
    answers: dict[int, Answer] = {}
    for key in dict.fromkeys(keys):
        rows = [row for row, own in enumerate(keys) if own == key]
        answers.update(zip(rows, ask(rows), strict=True))
    return [answers[row] for row in range(len(keys))]


def read_answer(
    logits: torch.Tensor,
    boxes_cxcywh: torch.Tensor,
    offsets: Sequence[Span],
    words: torch.Tensor,
    image: Image.Image,
    query: Query,
    reduction: Reduction,
) -> Answer:
    """Convert a model's output for one image into an answer.

    Args:
        logits: of each box for each token, shape (Q, T); further columns are left out.
        boxes_cxcywh: centre x and y, width and height; shape (Q, 4), shares of the image.
        offsets: [start, end) of the characters of each of the T tokens.
        words: which tokens are not padding, shape (T,).
        image: the image.
        query: the query.
        reduction: how a phrase's score is computed from those of its tokens.

    """
    # Models pad logits with -inf: after each prompt's tokens, and up to the longest prompt that they accept.
    logits = logits[:, : len(words)].float().cpu()
    boxes = boxes_cxcywh.cpu().double()
    if not (torch.isfinite(logits[:, words.bool().cpu()]).all() and torch.isfinite(boxes).all()):
        return None
    scores = span_scores(logits.sigmoid().numpy(), span_tokens(offsets, query.spans), reduction)
    return corners_of(boxes.numpy(), image.size), scores


def _merged(
    image: Image.Image, phrases: int, split: Parts, answers: Sequence[Answer], score_min: float
) -> Detections | UnusableError:
    boxes, scores = [np.zeros((0, 4))], [np.zeros((0, phrases))]
    for part, answer in zip(split.parts, answers, strict=True):
        if answer is None:
            return UnusableError(DropReason.NOT_FINITE, "the detector's logits or boxes are not finite")
        wide = np.zeros((len(answer[0]), phrases))
        wide[:, part.phrases] = answer[1]
        boxes.append(answer[0])
        scores.append(wide)
    return sift_boxes(np.concatenate(boxes), np.concatenate(scores), image.size, score_min, split.notices)
