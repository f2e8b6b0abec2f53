"""Explanations of the names on the page, for a reader who only has the page. Owns these texts."""

from __future__ import annotations

from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options.heads import ScoreOptions, score_name

_HEADINGS = {
    "hi": "HI",
    "hi_soft": "soft HI",
    "hi_lift": "lift",
    "ram": "RAM",
    "ram_relative": "rel. RAM",
    "image_mass": "image",
    "entropy": "entropy",
    "pointing": "pointing",
}
_NAMES = {
    "hi": "Head Impact",
    "hi_soft": "soft Head Impact",
    "hi_lift": "lift of Head Impact over chance",
    "ram": "Retrieval Attention Mass",
    "ram_relative": "relative Retrieval Attention Mass",
    "image_mass": "attention on the image",
    "entropy": "spatial entropy",
}
_OVER = {
    "response": "the description's tokens",
    "phrase": "the phrases' tokens",
    "last": "the last token of the prompt",
    "generated": "the generated tokens",
}
_LOOKED_AT = {
    "top_area": "as many of its most attended tokens as the object has",
    "mean": "tokens above the mean of the image",
    "quantile": "tokens above a quantile of the image",
    "otsu": "tokens above Otsu's threshold of the image",
}
_SCORES = {
    "hi": "Head Impact: overlap (IoU) of a head's most attended image tokens with those of a key object, mean over "
    "the objects, from 0 to 1. Most attended are {looked_at}. Chance: as many tokens drawn at random",
    "hi_soft": "like HI, without a threshold: attention and the object's area are each scaled to sum to 1 over tokens, "
    "and the sum of the smaller of both is divided by the sum of the larger (Ruzicka). Chance: the object moved to "
    "every other place",
    "hi_lift": "(HI - chance) / (1 - chance), so that chance is 0. Computed per sample, then averaged, so it does "
    "not follow exactly from the averages of HI and chance",
    "ram": "Retrieval Attention Mass: share of all attention, on image and text, that is on tokens of key objects. "
    "Chance: the same attention on the image, spread evenly over it",
    "ram_relative": "share of the attention on the image that is RAM. Chance: the objects' share of its tokens",
    "image_mass": "share of all attention that is on the image. Chance: attention spread evenly over all tokens "
    "that are seen",
    "entropy": "spatial entropy of the attention on the image: entropy over its connected parts above the mean, in "
    "nats; 0 is a single part",
    "pointing": "share of samples in which the image's most attended token is a key object's. Chance: the objects' "
    "share of the image's tokens",
}
POSITIONS = {
    "response": "all tokens of the text, which the model receives as its answer",
    "phrase": "the tokens of the phrases that name the objects",
    "last": "the last token of the prompt",
    "generated": "the tokens that the model generates",
}
_CONVENTIONS = {
    "predicting": "The attention of a token is that of the row before, which produces it; for last, that of its row.",
    "at": "The attention of a token is that of its row.",
}


def heading_of(score: str) -> str:
    """Return the heading of a score's column."""
    return _HEADINGS.get(score, score)


def name_of(by: str) -> str:
    """Return the name of SCORE:POSITIONS for a sentence: ``Head Impact over the description's tokens``."""
    score, _, positions = by.partition(":")
    return f"{_NAMES.get(score, heading_of(score))} over {_OVER[positions]}"


def explained_scores(scores: HeadScores) -> list[tuple[str, str]]:
    """Return explanations of scores, by heading and name in files."""
    looked_at = _LOOKED_AT[scores.options.binarisation]
    measured = dict.fromkeys(name for name, _ in scores.values)
    ours = [
        (f"{_HEADINGS[name]} ({name})" if _HEADINGS[name] != name else name, _SCORES[name].format(looked_at=looked_at))
        for name in measured
        if name in _SCORES
    ]
    return ours + [(score_name(one.name), f"{one}; from a plug-in") for one in scores.plugins if one.kind == "score"]


def explained_positions(options: ScoreOptions) -> str:
    """Return explanations of the positions whose attention is scored."""
    named = "; ".join(f"{name}: {POSITIONS[name]}" for name in options.positions)
    return f"{named}. {_CONVENTIONS[options.convention]}"
