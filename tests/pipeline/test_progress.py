"""Progress of a build: what the line says of each stage, and what stays of it next to OUT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import datasetkit as dk
from datasetkit.export.output.work_log import work_log_path
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.presets import preset
from datasetkit.pipeline.build import build
from datasetkit.pipeline.progress import PartsProgress, Progress
from datasetkit.pipeline.work import PartProgress
from datasetkit.runtime.engines.protocol import Task
from datasetkit.runtime.stages.timers import Snapshot, Work

FIRST = Snapshot(10.0, {"detect": Work(9.0, 18, on_device=True), "draw": Work(4.0, 40, lanes=2)})
SECOND = Snapshot(10.0, {"detect": Work(5.0, 10, on_device=True), "link": Work(0.001, 10)})


def test_line_names_the_slowest_stage_first_with_busy_shares() -> None:
    seen: list[Progress] = []
    progress = PartsProgress(30, seen.append)
    first, second = Task(0, None), Task(1, None)
    progress.tell(first, PartProgress(18, 1, FIRST))
    assert seen[-1].detail == "1 dropped, device 90% busy, detect 2/s 90%, draw 20/s 20%"
    progress.done(first, PartProgress(20, 1, FIRST))
    progress.tell(second, PartProgress(5, 0, SECOND))
    assert seen[-1].detail == "1 dropped, device 70% busy, detect 2/s 70%, draw 20/s 10%", "of both, fast ones left out"
    assert seen[-1].work == FIRST + SECOND
    progress.died(second)
    assert (seen[-1].done, seen[-1].work) == (20, FIRST)


def test_work_of_a_build_stays_next_to_it_and_is_in_its_json(tmp_path: Path) -> None:
    built = dk.build("toyworld", tmp_path / "out", preset="none", count=3, size_px=64, workers=2)
    log = json.loads(work_log_path(tmp_path / "out").read_text())
    work = {name: (one["items"], one["lanes"]) for name, one in log["stages"].items()}
    assert work == dict.fromkeys(("read", "align", "draw"), (3, 2))
    assert log["device_busy"] is None
    assert built.as_json()["work"] == log
    again = dk.build("toyworld", tmp_path / "out", preset="none", count=3, size_px=64, workers=2)
    assert "work" not in again.as_json(), "nothing was built"
    assert json.loads(work_log_path(tmp_path / "out").read_text()) == log


@pytest.mark.slow
def test_log_of_models_counts_the_device(tmp_path: Path) -> None:
    recipe = Recipe.checked({"source": {"name": "toyworld", "count": 3}, "grounding": preset("toyworld", {})})
    build(recipe, RunOptions(out=tmp_path / "out", device="cpu", workers=2))
    log = json.loads(work_log_path(tmp_path / "out").read_text())
    assert 0 < log["device_busy"] <= 1
    assert log["stages"]["detect"]["items"] == 3
