"""Contrasts of information flow as single numbers. Owns what is compared in knockout curves, each with one interval.

Curves have one point per layer; a claim that picks the best of many points finds one by chance. So each claim is one
number computed from the mean curves, and is resampled over images with all of their questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasetkit.hi_scoring.evaluation.metrics import ratio
from datasetkit.hi_scoring.interventions.intervals import by_image
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.statistics import FloatArray, Interval, bootstrap_interval

IMAGE_QUESTION, IMAGE_LAST, QUESTION_LAST = "image -> question", "image -> last", "question -> last"
_FLOWS = (IMAGE_QUESTION, IMAGE_LAST, QUESTION_LAST)


@dataclass(frozen=True)
class FlowContrasts:
    """Contrasts for the claims; above 0 where a claim holds. Intervals are 95 %, over images.

    Args:
        questions: number of questions in which all three flows were blocked.
        largest: largest loss of image -> question, image -> last and question -> last over layers, percentage points.
        peaks: the layers of these losses.
        has_control: whether the control was subtracted in ``lower``; it is not if any of the questions has none.
        lower: how much more a question's answer loses when the image does not reach the question in the lower half of
            the layers than in the upper, in percentage points.
        later: how many layers higher question -> last costs most than image -> question does.
        less_than_to_question: largest loss of image -> question minus that of image -> last, in percentage points.
        less_than_of_question: the same for question -> last.

    """

    questions: int
    largest: tuple[float, ...]
    peaks: tuple[int, ...]
    has_control: bool
    lower: Interval
    later: Interval
    less_than_to_question: Interval
    less_than_of_question: Interval


def flow_contrasts(found: Knockouts) -> FlowContrasts | None:
    """Compare the flows; return None if one of the three is missing, or every window covers all layers."""
    table = found.tables.knockout.to_pandas()
    table = table[table["flow"].isin(_FLOWS)]
    layers = table["layer"].nunique()
    if found.facts["options"]["window"] // 2 >= layers - 1:
        return None
    wide = table.pivot(
        index=["picture_id", "record_id", "number"], columns=["flow", "layer"], values=["change", "control_change"]
    )
    order = [("change", flow, layer) for flow in _FLOWS for layer in range(layers)]
    if not set(order) <= set(wide.columns):
        return None
    wide = wide.dropna(subset=order)
    if wide.empty:
        return None
    loss = -wide[order].to_numpy(float).reshape(len(wide), len(_FLOWS), layers)
    control = -wide["control_change"][IMAGE_QUESTION].to_numpy(float).reshape(len(wide), 1, layers)
    has_control = not np.isnan(control).any()
    curves = np.concatenate([loss, control if has_control else np.zeros_like(control)], axis=1)
    mean = loss.mean(axis=0)
    largest, peaks = tuple(mean.max(axis=-1).tolist()), tuple(mean.argmax(axis=-1).tolist())
    images = wide.index.get_level_values("picture_id").tolist()
    return FlowContrasts(len(wide), largest, peaks, has_control, *_estimated(curves, images))


def _estimated(curves: FloatArray, images: Sequence[str]) -> list[Interval]:
    """Estimate all numbers of (questions, 4, layers) curves of loss: three flows, and the control of the first."""
    _, rows, layers = curves.shape
    sums = by_image(curves.reshape(len(curves), -1), images)

    def numbers(drawn: FloatArray) -> FloatArray:
        """Return the four numbers for each draw's mean curves, (draws, 4)."""
        mean = ratio(drawn.reshape(-1, rows * layers, 2)).reshape(-1, rows, layers)
        to_question, to_last, of_question, control = (mean[:, row] for row in range(rows))
        beyond, half = to_question - control, layers // 2
        lower = beyond[:, :half].mean(axis=-1) - beyond[:, -half:].mean(axis=-1)
        later = of_question.argmax(axis=-1) - to_question.argmax(axis=-1)
        worst = to_last.max(axis=-1)
        return np.stack([lower, later, to_question.max(axis=-1) - worst, of_question.max(axis=-1) - worst], axis=-1)

    [values] = numbers(sums.mean(axis=0))
    if len(sums) < 2:
        return [Interval(float(value), np.nan, np.nan) for value in values]
    # As one column, so that each draw is reduced as a whole.
    low, high = bootstrap_interval(sums.reshape(len(sums), 1, -1), reduce=numbers)
    return [Interval(*map(float, one)) for one in zip(values, low, high, strict=True)]
