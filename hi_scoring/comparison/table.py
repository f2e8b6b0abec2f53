"""Numbers of a comparison. Owns which shifts and contrasts are estimated, and how many tests they count as.

The paper's claim (Sergeev & Kotelnikov, arXiv 2511.23375) is that tuning the layers with the highest HI shifts the
model most, not that the result is best: figures are reported next to shifts, and the contrasts compare the sizes of
shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasetkit.hi_scoring.comparison.cells import TEST, CellResult
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.trials import UNTUNED
from datasetkit.hi_scoring.evaluation.metrics import METRICS
from datasetkit.hi_scoring.evaluation.shifts import Cell, Estimate, shift, size_contrast
from datasetkit.hi_scoring.runs.files import write_table
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, LEVEL, OPEN, holm
from datasetkit.options.head_forms import RANKED

# Tunes more than any other group: it is shown next to them, but is not a rival.
EVERYTHING = "all"


def shifts_table(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each test set, metric and group.

    Returns:
        columns test, metric, group; runs, n (samples with a value), trainable, share (trainable parameters as a share
        of all); figure (mean over runs), spread (standard deviation over runs, NaN for fewer than two); shift from the
        untuned model with low, high (95 %), p; p_holm, corrected for all rows of a test set with metrics in ``METRICS``
        (NaN in ``accuracy:TYPE`` rows, which are shown but not tested). The untuned model has no shift.

    """
    rows = []
    for test, measured in comparison.untuned.measured.items():
        for name in measured.metrics:
            nothing = Estimate(np.nan, np.nan, np.nan, np.nan)
            rows.append(_row(test, name, UNTUNED, (comparison.untuned,), nothing))
            rows += [
                _row(test, name, group, cells, shift(name, _cell(comparison, test, group)))
                for group, cells in comparison.groups.items()
            ]
    table = pd.DataFrame(rows)
    return _corrected(table, table["metric"].isin(list(METRICS)))


def contrasts_table(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each metric of the test set and each group that is compared with the top one of its size.

    Returns:
        columns test, metric, first, second; difference of the shifts, with sign; size (how much larger the first shift
        is, regardless of sign), low, high (95 %), p of that, and p_holm, corrected for all contrasts of a test set
        except those with ``all``, where it is NaN.

    """
    rows = []
    for test, measured in comparison.untuned.measured.items():
        for name in measured.metrics:
            if name not in METRICS:
                continue
            for first, second in contrasted(comparison):
                cells = _cell(comparison, test, first), _cell(comparison, test, second)
                size = size_contrast(name, *cells)
                rows.append(
                    {
                        "test": test,
                        "metric": name,
                        "first": first,
                        "second": second,
                        "difference": cells[0].shift(name) - cells[1].shift(name),
                        "size": size.value,
                        **_interval(size),
                    }
                )
    columns = ["test", "metric", "first", "second", "difference", "size", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return _corrected(table, table["second"] != EVERYTHING)


def contrasted(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the pairs of groups: each top one with the bottom and random ones of its unit and number, and with all."""
    ranked = {group: match for group in comparison.groups if (match := RANKED.fullmatch(group))}
    pairs = []
    for first, match in ranked.items():
        if match["rule"] != "top":
            continue
        rivals = [
            group
            for group, other in ranked.items()
            if other["rule"] != "top" and (other["unit"], other["k"]) == (match["unit"], match["k"])
        ]
        pairs += [(first, second) for second in (*rivals, *([EVERYTHING] if EVERYTHING in comparison.groups else []))]
    return pairs


@dataclass(frozen=True)
class Verdict:
    """The verdict of the contrasts on the paper's claim for one top group.

    Args:
        holding: metrics in which it shifts the model significantly more than every rival of its size.
        failing: metrics in which a rival shifts it significantly more.

    """

    group: str
    answer: str
    holding: tuple[str, ...]
    failing: tuple[str, ...]
    tested: int


def verdicts(contrasts: pd.DataFrame) -> list[Verdict]:
    """Check the claim on the test set: it holds if most metrics support it and none contradicts it."""
    part = contrasts[(contrasts["test"] == TEST) & (contrasts["second"] != EVERYTHING)]
    found = []
    for group, rows in part.groupby("first", sort=False):
        holding, failing, tested = [], [], 0
        for name, of_metric in rows.groupby("metric", sort=False):
            tested += 1
            sure = of_metric["p_holm"] < LEVEL
            if (sure & (of_metric["size"] < 0)).any():
                failing.append(str(name))
            elif (sure & (of_metric["size"] > 0)).all():
                holding.append(str(name))
        answer = OPEN
        if failing and len(failing) >= len(holding):
            answer = FAILS
        elif not failing and len(holding) > tested / 2:
            answer = HOLDS
        found.append(Verdict(str(group), answer, tuple(holding), tuple(failing), tested))
    return found


def _row(test: str, name: str, group: str, cells: tuple[CellResult, ...], estimate: Estimate) -> dict[str, object]:
    figures = [cell.measured[test].figure(name) for cell in cells]
    return {
        "test": test,
        "metric": name,
        "group": group,
        "runs": len(cells),
        "n": min(cell.measured[test].n(name) for cell in cells),
        "trainable": round(float(np.mean([cell.trainable for cell in cells]))),
        "share": float(np.mean([cell.trainable / cell.parameters for cell in cells])),
        "figure": float(np.mean(figures)),
        "spread": float(np.std(figures, ddof=1)) if len(figures) > 1 else np.nan,
        "shift": estimate.value,
        **_interval(estimate),
    }


def _interval(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high, "p": estimate.p_value}


def _cell(comparison: Comparison, test: str, group: str) -> Cell:
    return Cell(comparison.untuned.measured[test], [cell.measured[test] for cell in comparison.groups[group]])


def _corrected(table: pd.DataFrame, is_test: pd.Series) -> pd.DataFrame:
    """Add ``p_holm``: Holm's correction over the tests of each test set; NaN where a row is not a test."""
    corrected = pd.Series(np.nan, index=table.index)
    for _, rows in table[is_test & table["p"].notna()].groupby("test", sort=False):
        corrected[rows.index] = holm(rows["p"].to_numpy(float))
    return table.assign(p_holm=corrected)


def write_tables(folder: Path, shifts: pd.DataFrame, contrasts: pd.DataFrame) -> None:
    """Write both tables as Parquet, for further computation."""
    write_table(folder / "shifts.parquet", shifts)
    write_table(folder / "contrasts.parquet", contrasts)
