"""One self-contained page about all that was measured of a model. Owns what is on it, folder by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

from datasetkit.core.text import counted
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.comparison.report.figures import forest
from datasetkit.hi_scoring.comparison.report.summary import tests_of
from datasetkit.hi_scoring.comparison.report.terminal import ComparisonResult
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.joined.claims import Claim
from datasetkit.hi_scoring.joined.figures import dose_curves, dosed, knockout_curves, sparsity_bars, tracking_curves
from datasetkit.hi_scoring.joined.folders import ResultFolder
from datasetkit.hi_scoring.joined.glossary import explained
from datasetkit.hi_scoring.joined.papers import HELD, LITTLE
from datasetkit.hi_scoring.report import pages
from datasetkit.hi_scoring.report.text import setting_lines
from datasetkit.hi_scoring.scores.report.figures import heatmaps
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, LEVEL, NOT_MEASURED, OPEN

_MARKED = 10


@dataclass(frozen=True)
class _Plot:
    """An image (PNG), its alternative text, and its caption."""

    image: bytes
    what: str
    caption: str


def write_page(path: Path, folders: Sequence[ResultFolder], claims: Sequence[Claim]) -> None:
    """Write the page about folders of one model, at least one."""
    model = folders[0].model
    sections = []
    for folder in folders:
        lead, plots = _shown(folder.results)
        title = f"{folder.command}: {folder.name}"
        sections.append({"title": title, "lead": lead, "plots": plots, "settings": setting_lines(folder.description)})
    pages.write_page(
        path,
        __package__,
        title=f"Heads of {model.id}: claims and what was measured",
        opening=_opening(folders, claims),
        weights=model.revision or model.sha256,
        claims=claims,
        little=LITTLE,
        sections=sections,
        glossary=explained(folders),
    )


def _opening(folders: Sequence[ResultFolder], claims: Sequence[Claim]) -> pages.Opening:
    answers = Counter(one.answer for one in claims)
    told = ", ".join(f"{name} {answers[name]:,}" for name in (HOLDS, FAILS, OPEN, NOT_MEASURED) if answers[name])
    papers = len({held.paper for held in HELD})
    return pages.Opening(
        f"Which claims of {papers} papers about attention heads hold for {folders[0].model.id}? Judged by "
        f"{counted(len(folders), 'folder')} of results.",
        f"{counted(len(claims), 'verdict')}: {told}.",
        "Each, with its reason, is in the table.",
        f"Each verdict is about this model and its data alone, at p < {LEVEL} or 95 % intervals. A claim that does not "
        "hold here, or cannot be told, is an honest result, not a failed run: more samples and seeds make it surer.",
    )


@singledispatch
def _shown(results: Any) -> tuple[str, list[_Plot]]:
    """Return the sentence and the plots of what a folder holds."""
    raise TypeError(f"no section shows {type(results).__name__}")


@_shown.register
def _(results: HeadScores) -> tuple[str, list[_Plot]]:
    layers, heads = results.shape
    lead = (
        f"Scores of {layers} layers of {heads} heads on {counted(len(results.record_ids), 'sample')} of "
        f"{results.dataset.get('name', 'unnamed data')}."
    )
    positions = dict.fromkeys(place for score, place in results.values if score in ("hi", "ram"))
    plots = []
    for place in positions:
        by = f"{'hi' if ('hi', place) in results.values else 'ram'}:{place}"
        caption = f"Framed: the {_MARKED} heads of the highest {by}. Each map has its own scale. Grey: not defined."
        image = heatmaps(results, place, results.top(_MARKED, by))
        plots.append(_Plot(image, f"Maps of layers and heads at {place}", f"Positions “{place}”. {caption}"))
    return lead, plots


@_shown.register
def _(results: Knockouts) -> tuple[str, list[_Plot]]:
    counts, options = results.facts["counts"], results.facts["options"]
    window = options["window"]
    lead = (
        f"Each flow is blocked in {counted(window, 'layer')} around each layer in turn; the answer's probability is "
        f"read at the last prompt position, on {counted(counts['blocked'], 'question')} of "
        f"{counted(counts['questions'], 'question')}."
    )
    flows = _Plot(
        knockout_curves(results),
        "Change of the answer's probability over layers, for each flow and its control",
        "Change of the answer's probability, percent of what it was; bands are 95 % intervals over images, layer by "
        "layer. Grey: as many randomly chosen edges. Each panel has its own scale. No grey curve: the "
        "tokens see so few others that most random edges would be the flow's own.",
    )
    tracked = _Plot(
        tracking_curves(results),
        "Probability of the answer's first token after each layer",
        "Answer tracking: the first token of the right answer and of the false option, in lower case and capitalised, "
        "read from the last position's hidden state. Bands are 95 % intervals over images.",
    )
    return lead, [flows, tracked]


@_shown.register
def _(results: Ablations) -> tuple[str, list[_Plot]]:
    lead = (
        f"Shifts from the model as it was, on {counted(results.facts['n'], 'sample')}, by how many heads are ablated."
    )
    caption = (
        "Bands are 95 % intervals over samples and draws. Ringed: top differs from matched random heads, "
        f"p < {LEVEL} (Holm)."
    )
    return lead, [
        _Plot(dose_curves(results, name), f"Dose curves of {find_metric(name).label}", f"{label}. {caption}")
        for name in dosed(results)
        for label in (find_metric(name).label,)
    ]


@_shown.register
def _(results: Sparsity) -> tuple[str, list[_Plot]]:
    plan = results.plan
    costs = results.costs.iloc[0]
    lead = (
        f"{counted(len(plan.kept), 'head')} of {plan.layers * plan.heads:,} keep full attention; the others see text, "
        f"the first {plan.sink} tokens and the last {plan.window}. Prompts have {costs['tokens']:,.0f} tokens (median)."
    )
    caption = (
        "Speed: median of the ratios to dense, with its 95 % interval; dense compared with itself shows how much times "
        "vary. Memory: median; not shown where it is too small to be seen. Quality: figures, with the 95 % interval of "
        "their change from dense."
    )
    return lead, [_Plot(sparsity_bars(results), "Speed, memory and quality of dense and sparse prefill", caption)]


@_shown.register
def _(results: ComparisonResult) -> tuple[str, list[_Plot]]:
    groups = results.groups
    lead = f"{counted(len(groups), 'configuration')}: {', '.join(groups)}."
    caption = "Shift from the untuned model with its 95 % interval. Filled: p < 0.05 after Holm's correction."
    return lead, [
        _Plot(forest(results, results.shifts, test), f"Shifts on {test}", f"Test set “{test}”. {caption}")
        for test in tests_of(results.shifts)
    ]
