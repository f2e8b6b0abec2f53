"""Shifts of figures: intervals and p-values compared with loops, planted effects and a simulation."""

import math

import numpy as np
import pytest

from datasetkit.core.errors import RecordError, UnknownNameError
from datasetkit.hi_scoring.evaluation.captions import bleu4, caption_statistics
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.shifts import DRAWS, Cell, Estimate, contrast, shift, size_contrast

NAME = "accuracy"


def _run(scores: np.ndarray, weights: np.ndarray | float = 1.0) -> Measured:
    """A run whose figure is the weighted mean of its scores."""
    rows = np.column_stack([scores * weights, np.broadcast_to(weights, scores.shape)])
    return Measured([f"sample-{place}" for place in range(len(scores))], {NAME: rows})


def _cell(seed: int, effect: float, *, n: int = 60, runs: int = 3, spread: float = 0.0) -> Cell:
    """Runs that are ``effect`` above the baseline, with noise and a spread of the runs."""
    random = np.random.default_rng(seed)
    before = random.normal(0.5, 0.2, n)
    offsets = random.normal(effect, spread, runs)
    return Cell(_run(before), [_run(before + offset + random.normal(0, 0.1, n)) for offset in offsets])


def _looped(cell: Cell, draws: int, seed: int, stream: int = 1) -> list[float]:
    """Draw samples for all draws, and runs for all draws, and compare by hand."""
    random, random_runs = np.random.default_rng([seed, 0]), np.random.default_rng([seed, stream])
    n, count = len(cell.baseline.sample_ids), len(cell.runs)
    samples = [random.integers(n, size=n) for _ in range(draws)]
    runs = [random_runs.integers(count, size=count) for _ in range(draws)]

    def figure(run: Measured, drawn: np.ndarray) -> float:
        total, size = run.statistics[NAME][drawn].sum(axis=0)
        return total / size

    return [
        sum(figure(cell.runs[run], drawn) for run in of_draw) / count - figure(cell.baseline, drawn)
        for drawn, of_draw in zip(samples, runs, strict=True)
    ]


def test_shift_equals_a_plain_loop() -> None:
    random = np.random.default_rng(4)
    weights = random.integers(1, 4, 15)
    cell = Cell(
        _run(random.normal(size=15), weights), [_run(random.normal(0.4, 1, size=15), weights) for _ in range(3)]
    )
    drawn = np.array(_looped(cell, 200, 7))
    found = shift(NAME, cell, draws=200, seed=7)
    expected = np.mean([run.figure(NAME) for run in cell.runs]) - cell.baseline.figure(NAME)
    assert found.value == pytest.approx(expected)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert found.p_value == pytest.approx(2 * (1 + min((drawn <= 0).sum(), (drawn >= 0).sum())) / 201)
    assert 0.02 < found.p_value < 1
    assert shift(NAME, cell, draws=200, seed=7) == found
    assert shift(NAME, cell, draws=200, seed=8) != found


def test_contrasts_are_differences_in_every_draw() -> None:
    first, second = _cell(1, -0.03, runs=1), _cell(2, 0.02, runs=1)
    drawn = np.array([_looped(first, 300, 0), _looped(second, 300, 0, stream=2)])
    plain, size = contrast(NAME, first, second, draws=300), size_contrast(NAME, first, second, draws=300)
    for found, differences, value in (
        (plain, drawn[0] - drawn[1], first.shift(NAME) - second.shift(NAME)),
        (size, abs(drawn[0]) - abs(drawn[1]), abs(first.shift(NAME)) - abs(second.shift(NAME))),
    ):
        assert found.value == pytest.approx(value)
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))
    assert plain.value < 0 < size.value


def test_bleu_shift_uses_the_corpus_in_every_draw() -> None:
    references = [["a red cat on a mat"], ["two dogs run in a park"], ["a man rides a wave"], ["a bus on a road"]]
    captions = ["a cat on a mat", "two dogs run", "a man rides a big wave", "a bus on a road"]
    saids = (captions, [texts[0] for texts in references])
    runs = [Measured(list("abcd"), caption_statistics(said, references)) for said in saids]
    found = shift("bleu4", Cell(runs[0], runs[1:]), draws=100)
    random = np.random.default_rng([0, 0])
    places = [random.integers(4, size=4) for _ in range(100)]
    drawn = [1 - float(bleu4(runs[0].statistics["bleu4"][drawn].sum(axis=0))) for drawn in places]
    assert found.value == pytest.approx(1 - runs[0].figure("bleu4"))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert found.low < found.value < found.high


def test_planted_effect_is_found() -> None:
    large, small, none = _cell(1, -0.2), _cell(2, 0.05), _cell(3, 0.0)
    assert shift(NAME, large).p_value == pytest.approx(2 / (DRAWS + 1))
    assert shift(NAME, large).high < -0.1
    assert shift(NAME, none).low < 0 < shift(NAME, none).high
    assert shift(NAME, none).p_value > 0.05
    assert contrast(NAME, large, small).high < 0 < size_contrast(NAME, large, small).low
    assert contrast(NAME, none, _cell(5, 0.0)).p_value > 0.05


def test_runs_that_change_nothing_shift_nothing() -> None:
    run = _run(np.random.default_rng(0).random(30))
    cell = Cell(run, [run, run, run])
    assert shift(NAME, cell) == Estimate(0, 0, 0, 1)
    assert contrast(NAME, cell, cell) == size_contrast(NAME, cell, cell) == Estimate(0, 0, 0, 1)


def test_runs_that_differ_widen_the_interval() -> None:
    alike, apart = _cell(6, 0.1, spread=0.0), _cell(6, 0.1, spread=0.4)
    pooled = Cell(apart.baseline, [_run(np.mean([run.statistics[NAME][:, 0] for run in apart.runs], axis=0))])
    widths = [found.high - found.low for found in (shift(NAME, cell) for cell in (alike, apart, pooled))]
    assert widths[1] > 3 * widths[0]
    assert widths[1] > 3 * widths[2]


def test_interval_coverage_is_as_stated() -> None:
    held, significant, repeats = 0, 0, 200
    for seed in range(repeats):
        found = shift(NAME, _cell(seed, 0.0, n=40, runs=1), draws=300)
        held += found.low <= 0 <= found.high
        significant += found.p_value <= 0.05
    assert 0.90 <= held / repeats <= 0.98
    assert 0.02 <= significant / repeats <= 0.10


def test_draws_without_a_value_are_left_out() -> None:
    weights = np.array([1, 1, 0, 0, 0, 0])
    cell = Cell(_run(np.zeros(6), weights), [_run(np.ones(6), weights)])
    assert shift(NAME, cell, draws=500).value == shift(NAME, cell, draws=500).low == 1
    assert shift(NAME, cell, draws=500).p_value > 2 / 501


@pytest.mark.parametrize("weights", [np.array([]), np.array([1.0]), np.array([1.0, 0, 0])])
def test_fewer_than_two_samples_give_nan(weights: np.ndarray) -> None:
    cell = Cell(_run(np.zeros(len(weights)), weights), [_run(np.ones(len(weights)), weights)])
    for found in (shift(NAME, cell), contrast(NAME, cell, cell), size_contrast(NAME, cell, cell)):
        assert np.isnan([found.low, found.high, found.p_value]).all()
    assert shift(NAME, cell).value == pytest.approx(1.0 if len(weights) else math.nan, nan_ok=True)


def test_runs_of_other_samples_are_refused() -> None:
    rows = np.ones((2, 2))
    before = Measured(("a", "b"), {NAME: rows})
    with pytest.raises(RecordError, match="sample 0 is 'a' in one, 'b' in another"):
        Cell(before, [before, Measured(("b", "a"), {NAME: rows})])
    with pytest.raises(RecordError, match="one measured 2 samples, another 1"):
        Cell(before, [Measured(("a",), {NAME: rows[:1]})])
    with pytest.raises(RecordError, match="has no run"):
        Cell(before, [])
    after = Measured(("a", "c"), {NAME: rows})
    for compare in (contrast, size_contrast):
        with pytest.raises(RecordError, match="sample 1 is 'b' in one, 'c' in another"):
            compare(NAME, Cell(before, [before]), Cell(after, [after]))


def test_metrics_that_were_not_measured_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="cider was not measured"):
        shift("cider", _cell(0, 0.0))
