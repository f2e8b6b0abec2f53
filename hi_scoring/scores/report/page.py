"""The page of head scores, one self-contained file. Owns what is on it; numbers come from the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasetkit.core.ledger import Drop
from datasetkit.core.text import counted
from datasetkit.hi_scoring.report import pages
from datasetkit.hi_scoring.report.text import FEW_SAMPLES, interval, number
from datasetkit.hi_scoring.scores.report.figures import heatmaps, layer_curves
from datasetkit.hi_scoring.scores.report.gallery import Panel
from datasetkit.hi_scoring.scores.report.glossary import POSITIONS, explained_positions, explained_scores, name_of
from datasetkit.hi_scoring.scores.report.summary import (
    STABILITY_TOP,
    Stability,
    columns_of,
    head_rows,
    layer_sentence,
    stability,
)
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.statistics import DRAWS, SEED, SPLITS

_OF_OBJECTS = ("hi", "ram", "pointing")
_CURVES = ("hi", "ram", "hi_lift")


def write_page(
    path: Path,
    scores: HeadScores,
    *,
    by: str,
    top: int,
    panels: Sequence[Panel] = (),
    drops: Sequence[Drop] = (),
    caution: str = "",
) -> None:
    """Write the page; heads are ranked ``by`` SCORE:POSITIONS, and the ``top`` ones listed.

    The ``caution``, without a full stop, says why the scores may mean nothing.

    Raises:
        UnknownNameError: the scores have nothing of the name ``by``.

    """
    heads = scores.top(top, by)
    positions = list(dict.fromkeys(place for _, place in scores.values))
    lead, _, first = by.partition(":")
    drawn = [name for name in dict.fromkeys((lead, *_CURVES)) if (name, first) in scores.values]
    shown = [place for place in positions if any(scores.n(*name).any() for name in scores.values if name[1] == place)]
    layers, heads_a_layer = scores.shape
    stable = stability(scores, by)
    reasons = Counter(drop.reason for drop in drops)
    pages.write_page(
        path,
        __package__,
        title=f"Attention heads of {scores.model.id}",
        opening=_opening(scores, by, heads, stable, caution),
        data=scores.dataset["name"],
        layers=layers,
        heads=heads_a_layer,
        n=len(scores.record_ids),
        ranked_by=by,
        positions=first,
        whose=POSITIONS[first],
        terms=explained_scores(scores),
        all_positions=explained_positions(scores.options),
        columns=columns_of(scores, by),
        top=head_rows(scores, by, heads),
        panels=panels,
        maps=[(name, heatmaps(scores, name, heads)) for name in sorted(shown, key=lambda name: name != first)],
        undefined=[name for name in positions if name not in shown],
        drawn=drawn[:3],
        curves=layer_curves(scores, drawn[:3], first),
        differences=layer_sentence(scores, by),
        top_k=STABILITY_TOP,
        splits=SPLITS,
        stability=stable,
        drops=[(str(reason), reason.explanation, count) for reason, count in reasons.most_common()],
        settings=_settings(scores, by).items(),
    )


def _opening(scores: HeadScores, by: str, heads: Sequence[Head], stable: Stability, caution: str) -> pages.Opening:
    samples = len(scores.record_ids)
    answer, found = _found(scores, by, heads, stable)
    what = "look most at the objects that the text names" if by.startswith(_OF_OBJECTS) else "score highest"
    few = f"Few samples ({samples}): intervals and rankings mean little below about {FEW_SAMPLES}. "
    agree = f"Rankings by halves of the data agree (Kendall's tau {stable.rows[0].tau}). "
    return pages.Opening(
        f"Which heads of {scores.model.id} {what}? Ranked by {name_of(by)} (`{by}`) on "
        f"{counted(samples, 'sample')} of {scores.dataset['name']}.",
        answer,
        found,
        f"{few if samples < FEW_SAMPLES else ''}{'' if stable.warning else agree}"
        "Heads were chosen and shown on the same samples, so the first ones' scores are somewhat too high. "
        "The scores say where heads look, not what a model does without them: `datasetkit ablate` tests that.",
        f"{caution}." if caution else "",
    )


def _found(scores: HeadScores, by: str, heads: Sequence[Head], stable: Stability) -> tuple[str, str]:
    """Return how many heads exceed chance, and which is first; if no chance level is known, only the latter."""
    if not heads:
        return "No head has a score.", ""
    lead, _, positions = by.partition(":")
    mean, (low, high) = scores.mean(lead, positions), scores.interval(lead, positions)
    chance = scores.chance(lead, positions)
    first, place = heads[0], (heads[0].layer, heads[0].head)
    best = f"Layer {first.layer}, head {first.head} has the highest {name_of(by)}: {number(mean[place])}"
    best += f" (95 % interval {interval(low[place], high[place])}"
    best += f"; chance {number(chance[place])})." if np.isfinite(chance[place]) else ")."
    known = int(np.isfinite(chance).sum())
    if not known:
        return best, stable.warning
    above = int((low > chance).sum())
    return (
        f"{above:,} of {counted(known, 'head')} exceed chance with the whole 95 % interval.",
        f"{best} {stable.warning}",
    )


def _settings(scores: HeadScores, by: str) -> Mapping[str, str]:
    model, dataset = scores.model, scores.dataset
    options = {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in scores.options.model_dump(mode="json").items()
    }
    return {
        "model": model.id,
        **_origin("model", model.revision, model.sha256),
        "dataset": f"{dataset['name']}, split {dataset['split']}, {dataset['rows']:,} rows",
        **_origin("dataset", dataset["revision"], dataset["sha256"]),
        "samples with scores": f"{len(scores.record_ids):,}",
        "ranked by": by,
        **options,
        "intervals": f"95 % percentile bootstrap over samples, {DRAWS:,} draws, seed {SEED}",
        "halves of the data": f"{SPLITS} random splits, seed {SEED}",
        **{name: str(value) for name, value in scores.environment.items() if name != "plugins"},
        **{f"plug-in {place}": str(origin) for place, origin in enumerate(scores.plugins, 1)},
        "datasetkit": scores.version,
    }


def _origin(what: str, revision: str | None, sha256: str | None) -> Mapping[str, str]:
    if revision:
        return {f"{what}: commit on the Hub": revision}
    return {f"{what}: SHA-256 of its files": sha256 or "not known"}
