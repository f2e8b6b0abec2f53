"""Captions compared with references: BLEU-4, ROUGE-L and CIDEr of pycocoevalcap. Owns their statistics.

Each sample has a row of numbers; a metric's figure over samples follows from the sum of their rows. A sample whose
references have no words is not measured: its rows are zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.hi_scoring.evaluation.words import words
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.runtime.packages import PYCOCOEVALCAP, require

_ORDERS = 4
_BLEU_COLUMNS = 2 * _ORDERS + 2


def caption_statistics(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, FloatArray]:
    """Compare a model's captions of n images with human references, at least one per image.

    Returns:
        float64 each: ``bleu4`` (n, 10), see :func:`bleu4`; ``rouge_l`` and ``cider`` (n, 2), the sample's score and 1.
        ROUGE-L is F with beta 1.2, in [0, 1]. CIDEr is in [0, 10]; the rarity of n-grams is counted over the references
        of all these samples, so scores of different sets cannot be compared, resampling does not change the counts, and
        a single sample scores 0.

    Raises:
        MissingPackageError: pycocoevalcap is missing.

    """
    require("comparing captions", PYCOCOEVALCAP)
    from pycocoevalcap.rouge.rouge import Rouge

    lines = [
        (_line(caption), [line for text in texts if (line := _line(text))])
        for caption, texts in zip(captions, references, strict=True)
    ]
    measured = [place for place, (_, wanted) in enumerate(lines) if wanted]
    pairs = [lines[place] for place in measured]
    rouge = [Rouge().calc_score([caption], wanted) for caption, wanted in pairs]
    rows = {"bleu4": _bleu_rows(pairs), "rouge_l": _scored(rouge), "cider": _scored(_cider(pairs))}
    statistics: dict[str, FloatArray] = {}
    for name, found in rows.items():
        statistics[name] = np.zeros((len(lines), found.shape[1]))
        statistics[name][measured] = found
    return statistics


def bleu4(sums: FloatArray) -> FloatArray:
    """Return BLEU-4 of a corpus (Papineni et al. 2002), unsmoothed: 0 without a match of every length.

    pycocoevalcap smooths in that case by about 1e-4; otherwise its figure is the same.

    Args:
        sums: (..., 10), sums over samples: matched n-grams of 1 to 4 words, the captions' n-grams of 1 to 4 words,
            the captions' words, the words of the references closest in length.

    Returns:
        shape (...), in [0, 1]; NaN where the references have no words.

    """
    matches, totals = sums[..., :_ORDERS], sums[..., _ORDERS : 2 * _ORDERS]
    caption_words, reference_words = sums[..., -2], sums[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(matches / totals).mean(axis=-1))
        brevity = np.exp(np.minimum(0, 1 - reference_words / caption_words))
    figure = np.where(matches.all(axis=-1), precision * brevity, 0)
    return np.where(reference_words > 0, figure, np.nan)


def _line(text: str) -> str:
    return " ".join(words(text))


def _scored(scores: Sequence[float]) -> FloatArray:
    return np.column_stack([scores, np.ones(len(scores))])


def _bleu_rows(pairs: Sequence[tuple[str, list[str]]]) -> FloatArray:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    counts = [cook_test(caption, cook_refs(lines, n=_ORDERS), eff="closest", n=_ORDERS) for caption, lines in pairs]
    rows = [[*found["correct"], *found["guess"], found["testlen"], found["reflen"]] for found in counts]
    return np.array(rows, np.float64).reshape(-1, _BLEU_COLUMNS)


def _cider(pairs: Sequence[tuple[str, list[str]]]) -> Sequence[float]:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if not pairs:
        return []
    scorer = CiderScorer()
    for pair in pairs:
        scorer += pair
    return scorer.compute_score()[1]
