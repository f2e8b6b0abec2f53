"""Hand-made folders of results, written by the real classes, for tests of the joint report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.ablation.plan import Condition as Ablated
from datasetkit.hi_scoring.ablation.plan import Trial
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.ablation.table import Effects
from datasetkit.hi_scoring.comparison.cells import CellResult, save_cell
from datasetkit.hi_scoring.comparison.compare import CELLS_NAME
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from datasetkit.hi_scoring.interventions.edges import MOST_OVERLAP
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.interventions.knockout_tables import PART_SCHEMA, KnockoutTables
from datasetkit.hi_scoring.runs.folder import RunFolder
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.sparse.conditions import Condition
from datasetkit.hi_scoring.sparse.coverage import Coverage, DenseReason
from datasetkit.hi_scoring.sparse.folder import Sparsity, condition_folder
from datasetkit.hi_scoring.sparse.measure import Prefills
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.hi_scoring.sparse.results import save_condition
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.comparison.report.made import comparison

MODEL = ModelIdentity("model", "toyworld:vlm", None, "ab" * 32)
N, LAYERS, HEADS = 12, 4, 4
RANDOM_SETS = 3
DATA = {"name": "toy", "split": "test", "revision": None, "sha256": None, "rows": N}
FLOWS = ("image -> question", "image -> last", "question -> last")
# Losses over layers, percent, as described in the paper.
AS_TOLD: Mapping[str, Sequence[float]] = dict(zip(FLOWS, ((60, 20, 1, 0), (2, 2, 1, 0), (1, 10, 70, 5)), strict=True))
RECORDS = [f"record-{place}" for place in range(N)]


def note(folder: Path, command: str, model: ModelIdentity = MODEL, **more: Any) -> Path:
    """Claim a folder for a command."""
    RunFolder(folder, command, {"model": asdict(model), "data": DATA, **more}).claim()
    return folder


def scored(folder: Path, **more: Any) -> Path:
    """Two kinds of scores that increase from head to head."""
    values = np.linspace(0.1, 0.6, LAYERS * HEADS).reshape(LAYERS, HEADS) + np.arange(3)[:, None, None] / 100
    HeadScores(
        {("hi", "response"): values, ("ram", "response"): values / 2},
        chances={},
        record_ids=["a", "b", "c"],
        options=ScoreOptions(),
        model=more.get("model", MODEL),
        dataset=DATA,
    ).save(note(folder, "datasetkit score", **more))
    return folder


def blocked(
    folder: Path,
    losses: Mapping[str, Sequence[float]] = AS_TOLD,
    *,
    overlap: float = 0.0,
    window: int = 1,
    spread: float = 1.0,
    heads: Sequence[tuple[int, int]] | None = None,
    **more: Any,
) -> Path:
    """Knockouts of one question per record with these mean losses, plus or minus ``spread`` percent.

    The deviation of each record is the opposite of the previous one's.
    """

    def curve(loss: Sequence[float], place: int, seed: int) -> list[float]:
        noise = np.random.default_rng((place // 2, seed)).normal(0, spread, len(loss))
        return (1 - (np.array(loss) + (-1) ** place * noise) / 100).tolist()

    rows = [
        {
            "picture_id": record,
            "record_id": record,
            "number": 0,
            "category": "choose attribute",
            "question": "what colour ?",
            "answer": "red",
            "false_option": "blue",
            "said": "red",
            "is_right": True,
            "p": 0.8,
            "flows": [
                {
                    "flow": name,
                    "remaining": curve(loss, place, seed),
                    "control": curve(
                        [0.0 if overlap <= MOST_OVERLAP else np.nan] * len(loss), place, seed + len(losses)
                    ),
                    "overlap": overlap,
                }
                for seed, (name, loss) in enumerate(losses.items())
            ],
            "tracking": [{"token": "answer", "p": [0.1, 0.2, 0.4, 0.7, 0.8], "p_unnormed": [0.0, 0.0, 0.1, 0.2, 0.8]}],
        }
        for place, record in enumerate(RECORDS)
    ]
    tables = KnockoutTables.of(pa.Table.from_pylist(rows, PART_SCHEMA), only_correct=True)
    options = {"flows": list(losses), "window": window, "only_correct": True, "heads": heads}
    Knockouts.of(tables, {"options": options}).save(note(folder, "datasetkit knockout", **more))
    return folder


def ablated(folder: Path, rankings: Mapping[str, float], **more: Any) -> Path:
    """Ablations of two heads by each ranking; the top ones cost this much of the answer's probability."""
    trials, measured = [], {}
    for number, (ranking, loss) in enumerate(rankings.items()):
        for place, (rule, draw) in enumerate((("top", None), ("bottom", None), ("random", 0), ("random", 1))):
            condition = Ablated("zero", (Head(number, place), Head(number + 1, place)))
            trials.append(Trial(ranking, rule, draw, condition))  # type: ignore[arg-type] # literals from a table
            measured[condition.name] = _answers("answer_probability", 0.8 - (loss if rule == "top" else 0.0), place)
    effects = Effects(_answers("answer_probability", 0.8), trials, measured, (LAYERS, HEADS))
    found = Ablations(effects.curves(), effects.contrasts(), {"n": N, "options": {"draws": 2}, "trials": []})
    found.save(note(folder, "datasetkit ablate", **more))
    return folder


def sparsified(
    folder: Path,
    *,
    core: float = 0.8,
    random: float = 0.4,
    speedup: float = 2.0,
    sparse: int = N,
    peak: float = 2.0**20,
    by: str = "ram:response",
    **more: Any,
) -> Path:
    """Sparse prefills with this share of right answers, and this many times as fast as the dense ones."""
    note(folder, "datasetkit sparsify", **more)
    plan = SparsePlan.keeping([Head(0, 1)], MODEL, (LAYERS, HEADS), chosen={"by": by, "share": 0.05})
    dense = N - sparse
    kept = [(0.8, 1.0, Condition("dense", None, None)), (core, speedup, Condition("core", None, plan))]
    kept += [(random, speedup, Condition("random", draw, plan)) for draw in range(RANDOM_SETS)]
    for place, (figure, times, condition) in enumerate(kept):
        costs = {"tokens": 900.0, "seconds_dense": 2.0, "seconds": 2.0 / times, "peak_dense": 2 * peak, "peak": peak}
        one = {"task": "vqa", **costs, "kl": 0.1, "same_token": 1.0}
        table = pd.DataFrame([{"record_id": record, "picture_id": record, **one} for record in RECORDS])
        coverage = Coverage(sparse)
        if dense:
            coverage.dense[DenseReason.HIDES_LITTLE] = dense
        evaluation = Evaluation(pd.DataFrame({"prediction": ["red"] * N}), _answers("accuracy", figure, place))
        save_condition(condition_folder(folder, condition.name), condition, Prefills(table, coverage), evaluation)
    Sparsity.finish(folder, [condition.name for _, _, condition in kept])
    return folder


def tuned(
    folder: Path,
    effects: Mapping[str, float],
    command: str = "datasetkit compare",
    *,
    by: str = "hi:response",
    **more: Any,
) -> Path:
    """A comparison of groups that are this far above the untuned model."""
    note(folder, command, scores={"by": by}, **more)
    found = comparison(effects, (0, 1), ("test",), ("accuracy",), 30)
    for cell in (found.untuned, *(cell for cells in found.groups.values() for cell in cells)):
        _save_cell(folder / CELLS_NAME / cell.name, cell)
    return folder


def changed_note(folder: Path, **changed: Any) -> None:
    """Change a folder's note."""
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def _save_cell(folder: Path, cell: CellResult) -> None:
    folder.mkdir(parents=True)
    names = ("name", "group", "selection", "seed", "modules", "trainable", "parameters")
    nothing = pd.DataFrame(
        columns=["record_id", "task", "type", "prompt", "reference", "prediction", "is_right", "present", "absent"]
    )
    evaluations = {test: Evaluation(nothing, measured) for test, measured in cell.measured.items()}
    save_cell(folder, {name: getattr(cell, name) for name in names}, evaluations)


def _answers(metric: str, figure: float, seed: int = 0) -> Measured:
    """One value per sample around a figure, from one question each."""
    values: FloatArray = np.clip(figure + np.random.default_rng(seed).normal(0, 0.005, N), 0, 1)
    return Measured(RECORDS, {metric: np.column_stack([values, np.ones(N)])})
