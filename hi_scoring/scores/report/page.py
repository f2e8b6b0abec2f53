"""One self-contained page about the heads of a model. Owns what stands in it; numbers come from the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasetkit.core.ledger import Drop
from datasetkit.hi_scoring.report import pages
from datasetkit.hi_scoring.scores.report.figures import heatmaps, layer_curves
from datasetkit.hi_scoring.scores.report.gallery import Panel
from datasetkit.hi_scoring.scores.report.glossary import POSITIONS, explained_positions, explained_scores
from datasetkit.hi_scoring.scores.report.summary import STABILITY_TOP, columns_of, head_rows, layer_sentence, stability
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.statistics import DRAWS, SEED, SPLITS

_CURVES = ("hi", "ram", "hi_lift")


def write_page(
    path: Path, scores: HeadScores, *, by: str, top: int, panels: Sequence[Panel] = (), drops: Sequence[Drop] = ()
) -> None:
    """Write the page; heads are ranked ``by`` SCORE:POSITIONS, and the ``top`` ones listed.

    Raises:
        UnknownNameError: the scores have nothing of the name ``by``.

    """
    heads = scores.top(top, by)
    positions = list(dict.fromkeys(place for _, place in scores.values))
    lead, _, first = by.partition(":")
    drawn = [name for name in dict.fromkeys((lead, *_CURVES)) if (name, first) in scores.values]
    shown = [place for place in positions if any(scores.n(*name).any() for name in scores.values if name[1] == place)]
    layers, heads_a_layer = scores.shape
    reasons = Counter(drop.reason for drop in drops)
    pages.write_page(
        path,
        __package__,
        title=f"Attention heads of {scores.model.id}",
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
        stability=stability(scores, by),
        drops=[(str(reason), reason.explanation, count) for reason, count in reasons.most_common()],
        settings=_settings(scores, by).items(),
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
