"""Predictions of models side by side, from the files of cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.comparison.cells import save_cell
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.predictions import Asked, Said, side_by_side
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from tests.hi_scoring.comparison.report.made import made


def prediction(record_id: str, task: str, said: str, **judged: Any) -> dict[str, Any]:
    return {
        "record_id": record_id,
        "task": task,
        "type": "colour" if task == "vqa" else None,
        "prompt": f"{task}?",
        "reference": "red",
        "prediction": said,
        "is_right": None,
        "present": None,
        "absent": None,
    } | judged


def saved(folder: Path, one: Comparison) -> Comparison:
    """Save the cells of a comparison, each with four predictions that name the cell."""
    for cell in (one.untuned, *(cell for cells in one.groups.values() for cell in cells)):
        table = pd.DataFrame(
            [
                prediction("a", "caption", f"{cell.name} sees", present=["a cube"], absent=["a dog", "a cat"]),
                prediction("a", "vqa", "red", is_right=True),
                prediction("a", "vqa", "not shown", is_right=False),
                prediction("b", "caption", ""),
                prediction("b", "vqa", "blue", is_right=False),
                prediction("c", "caption", "not shown"),
            ]
        )
        place = folder / "cells" / cell.name
        place.mkdir(parents=True)
        facts = {
            name: getattr(cell, name)
            for name in ("name", "group", "selection", "seed", "modules", "trainable", "parameters")
        }
        save_cell(place, facts, {"test": Evaluation(table, cell.measured["test"])})
    return Comparison.load(folder)


def test_first_prompts_and_first_runs_are_shown(tmp_path: Path) -> None:
    found = saved(tmp_path, made(("all", "top-layers:1"), tests=("test",), metrics=("accuracy",)).comparison)
    absent = "not in the image: a dog, a cat"
    groups = ("untuned", "top-layers:1", "all")
    names = ("untuned", "top-layers-1--seed-0", "all--seed-0")
    assert side_by_side(tmp_path, found, 2) == [
        Asked(
            "a",
            "caption?",
            "red",
            tuple(Said(group, f"{name} sees", absent) for group, name in zip(groups, names, strict=True)),
        ),
        Asked("a", "vqa?", "red", tuple(Said(group, "red", "right") for group in groups)),
        Asked("b", "caption?", "red", tuple(Said(group, "", "") for group in groups)),
        Asked("b", "vqa?", "red", tuple(Said(group, "blue", "wrong") for group in groups)),
    ]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
def test_unreadable_predictions_are_reported(tmp_path: Path, damage: Any) -> None:
    found = saved(tmp_path, made(("all",), seeds=(0,), tests=("test",), metrics=("accuracy",)).comparison)
    damage(tmp_path / "cells" / "all--seed-0" / "predictions_test.parquet")
    with pytest.raises(BuiltFolderError, match=r"all--seed-0.*run the same command again"):
        side_by_side(tmp_path, found, 2)
