"""All scores of one sample and one layer. Owns how views are combined; formulas are in the neighbouring modules.

Heads are an ordinary axis, so one call may contain heads of several layers. Undefined values are NaN. The chance level
of a score is named after it: ``hi_chance`` is that of ``hi``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from datasetkit.core.errors import PluginError
from datasetkit.hi_scoring.scores.formulas import binarise, mass, overlap, spatial
from datasetkit.options.heads import BINARISATIONS, SCORES, ScoreOptions
from datasetkit.runtime.registry import naming


class ViewScore(Protocol):
    """An additional score from a plug-in."""

    def __call__(self, attention: Tensor, coverage: Tensor) -> Tensor:
        """Score heads on each key object in one view of an image.

        Args:
            attention: (O | 1, H, rows, columns) float, of each head on the view's image tokens; 1 if it is the same for
                all objects.
            coverage: (O, rows, columns) float in [0, 1], share of a token's area in the object's mask.

        Returns:
            shape (O, H), NaN where a head has no such score.

        """


def further_score(name: str) -> ViewScore:
    """Return a score by the name of a plug-in or of a class; its errors name it.

    Raises:
        UnknownNameError: no score has that name.
        PluginError: it cannot be imported or constructed; when it is called: it failed, or returned another shape.

    """
    kind, origin = SCORES.load(name), SCORES.origin(name)
    guard: Callable[[], AbstractContextManager[None]] = (
        nullcontext if origin is None else partial(naming, origin, passing=(MemoryError,))
    )
    with guard():
        score = kind()

    def checked(attention: Tensor, coverage: Tensor) -> Tensor:
        with guard():
            found = score(attention, coverage)
        shape, came = (len(coverage), attention.shape[1]), tuple(getattr(found, "shape", ()))
        if not isinstance(found, Tensor) or came != shape:
            told = f"a {type(found).__name__} of shape {came}"
            raise PluginError(f"{origin} returned {told}; return a Tensor of shape {shape}: (objects, heads)")
        return found.to(attention.device).double()

    return checked


def object_scores(
    attention: Tensor,
    views: Sequence[Tensor],
    coverage: Sequence[Tensor],
    options: ScoreOptions,
    further: Mapping[str, ViewScore] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """Score heads on each key object.

    A view in which an object has no coverage is skipped for that object; its score is the mean over the others. Scores
    are undefined for a head without any attention on the image, such as those of a sliding layer whose window has
    passed the image.

    Args:
        attention: (O, H, M) or, the same for all objects, (1, H, M) float; attention on the image's M image tokens,
            averaged over the query positions.
        views: (rows, columns) int64 each, which of the M tokens a view shows.
        coverage: (O, rows, columns) float in [0, 1] for each view, share of a token's image area in the mask.
        options: the binarisation used for HI, and the threshold of the mask.
        further: additional scores by name.

    Returns:
        (O, H) float64 each: ``hi`` and ``hi_soft`` in [0, 1] with ``..._chance``, ``hi_lift`` (at most 1, 0 at chance,
        NaN where chance is 1), ``hi@NAME`` for every other binarisation, and the additional ones.

    """
    shape = (coverage[0].shape[0], attention.shape[1])
    if not shape[0]:
        others = [f"hi@{name}" for name in BINARISATIONS if name != options.binarisation]
        names = ["hi", "hi_chance", "hi_soft", "hi_soft_chance", *others, "hi_lift", *further]
        return dict.fromkeys(names, attention.new_zeros(shape, dtype=torch.float64))
    attention = attention.float()
    in_views = [
        _view_scores(attention[..., tokens], part.to(attention.device), options, further)
        for tokens, part in zip(views, coverage, strict=True)
    ]
    scores = {name: torch.stack([part[name].expand(shape) for part in in_views]).nanmean(dim=0) for name in in_views[0]}
    scores["hi_lift"] = overlap.lift(scores["hi"], scores["hi_chance"])
    looks = (attention != 0).any(dim=-1)
    return {name: torch.where(looks, score, torch.nan) for name, score in scores.items()}


def evidence_scores(
    attention: Tensor, views: Sequence[Tensor], evidence: Sequence[Tensor], visible_keys: float
) -> dict[str, Tensor]:
    """Score heads on the evidence of a whole sample.

    Args:
        attention: (H, M) float, attention on the image's M image tokens, averaged over the query positions.
        views: (rows, columns) int64 each, which of the M tokens a view shows.
        evidence: (rows, columns) float in [0, 1] for each view, see :func:`evidence_of`.
        visible_keys: number of keys that a row sees, image and text together; the harmonic mean over several rows.

    Returns:
        (H,) float64 each: ``ram``, ``ram_relative``, ``image_mass`` and ``pointing`` with ``..._chance``, and
        ``entropy``, the mean spatial entropy over the views where it is defined.

    """
    attention = attention.float()
    weights = attention.new_zeros(attention.shape[1], dtype=torch.float64)
    for tokens, part in zip(views, evidence, strict=True):
        weights[tokens] = part.to(weights)
    entropies = torch.stack([spatial.spatial_entropy(attention[:, tokens]) for tokens in views])
    return {
        **mass.attention_mass(attention.double(), weights, visible_keys),
        **spatial.pointing(attention, weights),
        "entropy": entropies.nanmean(dim=0),
    }


def evidence_of(coverage: Tensor, union_coverage: Tensor, options: ScoreOptions) -> Tensor:
    """Return the weights of a view's tokens as evidence for several objects together.

    Args:
        coverage: (O, rows, columns) float in [0, 1], coverage by each object.
        union_coverage: (rows, columns) float in [0, 1], coverage by the union of their masks.
        options: ``binary`` evidence weighs every token of any object with 1, as for HI; ``coverage`` uses the union's
            coverage.

    Returns:
        (rows, columns) float64 in [0, 1].

    """
    if options.evidence == "coverage":
        return union_coverage.double()
    return binarise.object_tokens(coverage, options.coverage_min).any(dim=0).double()


def _view_scores(
    attention: Tensor, coverage: Tensor, options: ScoreOptions, further: Mapping[str, ViewScore]
) -> dict[str, Tensor]:
    """Score heads on the objects in one view: (O | 1, H, rows, columns) and (O, rows, columns) to (O, H) each."""
    flat = attention.flatten(2)
    mask = binarise.object_tokens(coverage, options.coverage_min).flatten(1)
    shown = mask.any(dim=1, keepdim=True)
    mask |= ~shown  # any mask will do where the object is not shown: its scores are removed below
    sizes = mask.sum(dim=1, keepdim=True)
    ranked = binarise.ascending(flat)
    counts = torch.stack(
        [
            binarise.taken_counts(ranked, sizes, name, options.quantile).expand(len(mask), flat.shape[1])
            for name in BINARISATIONS
        ],
        dim=-1,
    )
    binary = overlap.binary_hi(flat, ranked, mask, counts)
    scores = {f"hi@{name}": binary[..., place] for place, name in enumerate(BINARISATIONS)}
    scores["hi"] = scores.pop(f"hi@{options.binarisation}")
    own = BINARISATIONS.index(options.binarisation)
    scores["hi_chance"] = overlap.binary_chance(flat.shape[-1], mask, counts[..., own])
    per_object = attention.expand(len(mask), -1, -1, -1)
    for name, formula in (("hi_soft", overlap.soft_hi), ("hi_soft_chance", overlap.soft_chance)):
        scores[name] = torch.stack([formula(*pair) for pair in zip(per_object, coverage, strict=True)])
    scores |= {name: score(attention, coverage) for name, score in further.items()}
    return {name: torch.where(shown, score, torch.nan) for name, score in scores.items()}
