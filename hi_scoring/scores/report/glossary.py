"""What the names on the page mean, for a reader who has nothing but the page. Owns these words."""

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
_LOOKED_AT = {
    "top_area": "as many of its most attended tokens as the object has",
    "mean": "tokens above the mean of the image",
    "quantile": "tokens above a quantile of the image",
    "otsu": "tokens above Otsu's threshold of the image",
}
_SCORES = {
    "hi": "Head Impact: overlap (IoU) of the image tokens that a head looks at with those of a key object, mean over "
    "the objects, from 0 to 1. Looked at are {looked_at}. Chance: as many tokens drawn at random",
    "hi_soft": "as HI, without a threshold: attention and the object's area are each scaled to sum to 1 over tokens, "
    "and the sum of the smaller of both is divided by the sum of the larger (Ruzicka). Chance: the object moved to "
    "every other place",
    "hi_lift": "(HI - chance) / (1 - chance), so that chance is 0. Taken in each sample, then averaged: the averages "
    "of HI and chance do not give it exactly",
    "ram": "Retrieval Attention Mass: share of all attention, on image and text, that is on tokens of key objects. "
    "Chance: the same attention on the image, spread evenly over it",
    "ram_relative": "share of the attention on the image that is RAM. Chance: the objects' share of its tokens",
    "image_mass": "share of all attention that is on the image. Chance: attention spread evenly over all tokens "
    "that are seen",
    "entropy": "how scattered the attention on the image is: entropy over its connected bright parts, in nats; "
    "0 is a single part",
    "pointing": "share of samples in which the image's most attended token is a key object's. Chance: the objects' "
    "share of the image's tokens",
}
POSITIONS = {
    "response": "all tokens of the text, which the model is given as its own answer",
    "phrase": "the tokens of the phrases that name the objects",
    "last": "the last token of the prompt",
    "generated": "the tokens that the model writes itself",
}
_CONVENTIONS = {
    "predicting": "Attention of a token is that of the row before it, which produces the token; of last, its own row.",
    "at": "Attention of a token is that of its own row.",
}


def heading_of(score: str) -> str:
    """What a score is called at the head of a column."""
    return _HEADINGS.get(score, score)


def explained_scores(scores: HeadScores) -> list[tuple[str, str]]:
    """Say of each score, by its name in files and its heading, what it is."""
    looked_at = _LOOKED_AT[scores.options.binarisation]
    measured = dict.fromkeys(name for name, _ in scores.values)
    ours = [
        (f"{_HEADINGS[name]} ({name})" if _HEADINGS[name] != name else name, _SCORES[name].format(looked_at=looked_at))
        for name in measured
        if name in _SCORES
    ]
    return ours + [(score_name(one.name), f"{one}; not one of ours") for one in scores.plugins if one.kind == "score"]


def explained_positions(options: ScoreOptions) -> str:
    """Say whose attention is scored."""
    named = "; ".join(f"{name}: {POSITIONS[name]}" for name in options.positions)
    return f"{named}. {_CONVENTIONS[options.convention]}"
