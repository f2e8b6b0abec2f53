"""Knockouts of many questions as tables. Owns their columns, their schemas, and how questions become curves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.text import listed
from datasetkit.hi_scoring.interventions.intervals import MeanCurve, mean_curves
from datasetkit.hi_scoring.interventions.knockout import QuestionResult
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion
from datasetkit.hi_scoring.interventions.tracking import TRACKED
from datasetkit.hi_scoring.runs.reading import Columns, read_frame, read_table
from datasetkit.hi_scoring.statistics import FloatArray

ALL = "all"
WHAT = "knockouts"
TABLES = ("questions", "knockout", "curves", "tracking", "tracking_curves")
_QUESTION = [
    ("picture_id", pa.string()),
    ("record_id", pa.string()),
    ("number", pa.int32()),
    ("category", pa.string()),
]
_CURVE = pa.list_(pa.float64())
# One row per question, as in the files of parts.
PART_SCHEMA = pa.schema(
    [
        *_QUESTION,
        ("question", pa.string()),
        ("answer", pa.string()),
        ("false_option", pa.string()),
        ("said", pa.string()),
        ("is_right", pa.bool_()),
        ("p", pa.float64()),
        (
            "flows",
            pa.list_(
                pa.struct(
                    [("flow", pa.string()), ("remaining", _CURVE), ("control", _CURVE), ("overlap", pa.float64())]
                )
            ),
        ),
        # By token, with the final norm at every layer and at the last layer only.
        ("tracking", pa.list_(pa.struct([("token", pa.string()), ("p", _CURVE), ("p_unnormed", _CURVE)]))),
    ]
)
_KNOCKOUT_SCHEMA = pa.schema(
    [
        *_QUESTION,
        ("flow", pa.string()),
        ("layer", pa.int32()),
        *((name, pa.float64()) for name in ("p", "change", "control_p", "control_change", "overlap")),
    ]
)
_TRACKING_SCHEMA = pa.schema(
    [*_QUESTION, ("token", pa.string()), ("layer", pa.int32()), ("p", pa.float64()), ("p_unnormed", pa.float64())]
)
_ID: Columns = {"picture_id": "text", "record_id": "text", "number": "whole", "category": "text"}
_ENDS = ("", "_low", "_high")
_BANDS = (*_ENDS, "_band_low", "_band_high")
_COLUMNS: Mapping[str, Columns] = {
    "questions": {**_ID, "question": "text", "answer": "text", "said": "text", "is_right": "flag", "p": "number"},
    "knockout": {
        **_ID,
        "flow": "text",
        "layer": "whole",
        **dict.fromkeys(("p", "change", "control_p", "control_change", "overlap"), "number"),
    },
    "curves": {
        "flow": "text",
        "category": "text",
        "layer": "whole",
        "n": "whole",
        "n_control": "whole",
        **{f"{name}{end}": "number" for name in ("change", "control", "difference") for end in _BANDS},
        "overlap": "number",
    },
    "tracking": {**_ID, "token": "text", "layer": "whole", "p": "number", "p_unnormed": "number"},
    "tracking_curves": {
        "category": "text",
        "token": "text",
        "layer": "whole",
        "n": "whole",
        **{f"{name}{end}": "number" for name in ("p", "p_unnormed") for end in _ENDS},
    },
}


@dataclass(frozen=True, eq=False)
class KnockoutTables:
    """The tables of knockouts.

    Args:
        questions: one row per question: picture_id, record_id, number, category, question, answer, false_option, said,
            is_right and p, the probability of the first token of what was said.
        knockout: one row per question, flow and layer: p with edges blocked around the layer, change in percent of the
            p with nothing blocked, the same for the control (NaN where there is none), and the share of the flow's
            edges that are also control edges.
        curves: one row per flow, category and layer: n questions; mean, low, high, band_low and band_high of change,
            and of control and difference over the n_control questions that have a control; mean overlap. Bands hold for
            all layers at once. The category ``all`` covers all categories.
        tracking: one row per question, token and layer: p through the final norm, p_unnormed as in the reference.
        tracking_curves: one row per category, token and layer: n; mean, low and high of p and p_unnormed.

    """

    questions: pa.Table
    knockout: pa.Table
    curves: pd.DataFrame
    tracking: pa.Table
    tracking_curves: pd.DataFrame

    @classmethod
    def of(cls, results: pa.Table, *, only_correct: bool) -> KnockoutTables:
        """Expand the rows of parts into tables and average over them.

        Args:
            results: rows with the columns of :data:`PART_SCHEMA`.
            only_correct: whether averages leave out questions with a wrong answer.

        """
        rows = results.to_pylist()
        counted = [row for row in rows if row["is_right"] or not only_correct]
        return cls(
            questions=results.drop_columns(["flows", "tracking"]),
            knockout=_knockout_table(rows),
            curves=_curves(counted),
            tracking=_tracking_table(rows),
            tracking_curves=_tracking_curves(counted),
        )


def read_tables(folder: Path, flows: Collection[str], again: str) -> KnockoutTables:
    """Read the tables of finished knockouts.

    Args:
        folder: the folder with one file per table.
        flows: the flows that were blocked.
        again: what to do if a table is damaged.

    Raises:
        BuiltFolderError: a table is missing, damaged, or about other flows.

    """
    path = {name: folder / f"{name}.parquet" for name in TABLES}
    tables = {
        name: read_table(path[name], _COLUMNS[name], WHAT, again)[0] for name in ("questions", "knockout", "tracking")
    }
    curves = {
        name: read_frame(path[name], _COLUMNS[name], WHAT, again, keys=keys)
        for name, keys in (
            ("curves", ("category", "flow", "layer")),
            ("tracking_curves", ("category", "token", "layer")),
        )
    }
    for name, column, known in (("curves", "flow", set(flows)), ("tracking_curves", "token", set(TRACKED))):
        every = curves[name][curves[name]["category"] == ALL]
        there = set(every[column])
        if not there <= known or (name == "curves" and there != known):
            raise BuiltFolderError(f"{path[name]} is damaged: its {column}s are {listed(sorted(there))}; {again}")
        if len(every) != len(curves[name][[column, "layer"]].drop_duplicates()) or every.empty:
            raise BuiltFolderError(f"{path[name]} is damaged: rows for all questions together are missing; {again}")
    keys = ["picture_id", "record_id", "number", "flow", "layer"]
    if tables["knockout"].select(keys).to_pandas().duplicated().any():
        raise BuiltFolderError(f"{path['knockout']} is damaged: a question has the same flow and layer twice; {again}")
    return KnockoutTables(**tables, **curves)


def part_row(item: ClosedQuestion, result: QuestionResult) -> dict[str, Any]:
    """Return the row of one question."""
    return {
        "picture_id": item.picture_id,
        "record_id": item.record_id,
        "number": item.number,
        "category": item.category,
        "question": item.question,
        "answer": item.answer,
        "false_option": item.false_option,
        "said": result.said,
        "is_right": result.is_right,
        "p": result.p,
        "flows": [
            {"flow": name, "remaining": one.remaining, "control": one.control, "overlap": one.overlap}
            for name, one in result.flows.items()
        ],
        "tracking": [
            {"token": token, "p": result.tracking[0, :, place], "p_unnormed": result.tracking[1, :, place]}
            for place, token in enumerate(TRACKED)
            if not np.isnan(result.tracking[0, 0, place])
        ],
    }


def _knockout_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    pairs = [(row, flow) for row in rows for flow in row["flows"]]
    if not pairs:
        return _KNOCKOUT_SCHEMA.empty_table()
    long = _long(pairs, ("remaining", "control"))
    remaining, control = long.pop("remaining"), long.pop("control")
    base = _repeated([row["p"] for row, _ in pairs], long).astype(np.float64)
    columns = {
        **long,
        "flow": _repeated([flow["flow"] for _, flow in pairs], long),
        "p": remaining * base,
        "change": _change(remaining),
        "control_p": control * base,
        "control_change": _change(control),
        "overlap": _repeated([flow["overlap"] for _, flow in pairs], long),
    }
    return pa.Table.from_pydict(columns, _KNOCKOUT_SCHEMA)


def _tracking_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    pairs = [(row, token) for row in rows for token in row["tracking"]]
    if not pairs:
        return _TRACKING_SCHEMA.empty_table()
    long = _long(pairs, ("p", "p_unnormed"))
    columns = {**long, "token": _repeated([token["token"] for _, token in pairs], long)}
    return pa.Table.from_pydict(columns, _TRACKING_SCHEMA)


def _long(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], curves: Sequence[str]) -> dict[str, Any]:
    """Stack curves of equal length: those of the second of each pair, with the question of the first."""
    values = {name: np.array([one[name] for _, one in pairs], dtype=np.float64) for name in curves}
    layers = next(iter(values.values())).shape[-1]
    long: dict[str, Any] = {name: array.ravel() for name, array in values.items()}
    long["layer"] = np.tile(np.arange(layers), len(pairs))
    return long | {name: _repeated([row[name] for row, _ in pairs], long) for name, _ in _QUESTION}


def _repeated(values: Sequence[Any], long: Mapping[str, Any]) -> Any:
    """Repeat the value of each curve once per layer."""
    return np.repeat(np.array(values, dtype=object), len(long["layer"]) // len(values))


def _curves(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    parts = []
    for category, chosen in _by_category(rows):
        for name in dict.fromkeys(flow["flow"] for row in chosen for flow in row["flows"]):
            pairs = [(row, flow) for row in chosen for flow in row["flows"] if flow["flow"] == name]
            change, control = (_change(np.array([flow[of] for _, flow in pairs])) for of in ("remaining", "control"))
            curves = {"change": change, "control": control, "difference": change - control}
            columns: dict[str, Any] = {
                "flow": name,
                "category": category,
                "layer": np.arange(change.shape[1]),
                "n": len(pairs),
                "n_control": np.count_nonzero(~np.isnan(control).any(axis=1)),
            }
            for of, curve in mean_curves(curves, [row["picture_id"] for row, _ in pairs]).items():
                columns |= _pointwise(of, curve)
                columns |= {f"{of}_band_low": curve.band_low, f"{of}_band_high": curve.band_high}
            parts.append(pd.DataFrame({**columns, "overlap": float(np.mean([flow["overlap"] for _, flow in pairs]))}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _tracking_curves(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    parts = []
    for category, chosen in _by_category(rows):
        for name in TRACKED:
            pairs = [(row, token) for row in chosen for token in row["tracking"] if token["token"] == name]
            if not pairs:
                continue
            curves = {of: np.array([token[of] for _, token in pairs]) for of in ("p", "p_unnormed")}
            layers = np.arange(curves["p"].shape[1])
            columns: dict[str, Any] = {"category": category, "token": name, "layer": layers, "n": len(pairs)}
            for of, curve in mean_curves(curves, [row["picture_id"] for row, _ in pairs]).items():
                columns |= _pointwise(of, curve)
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _by_category(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield all rows, then those of each category; a single category is not repeated."""
    yield ALL, list(rows)
    names = sorted({row["category"] for row in rows})
    for name in names if len(names) > 1 else ():
        yield name, [row for row in rows if row["category"] == name]


def _change(remaining: FloatArray) -> FloatArray:
    """Return the change in percent for a remaining share."""
    return 100 * (remaining - 1)


def _pointwise(name: str, curve: MeanCurve) -> dict[str, FloatArray]:
    return {name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
