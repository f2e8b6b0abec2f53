"""Saving of trained models for shipping: safetensors in half precision, the processor, and a training record."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from tools.toyworld.training.loop import Run, Schedule

TRAINING_FILE = "training.json"


def save_half(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write a model and its processor so that the Auto classes load them; the model is not changed."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = copy.deepcopy(model)
    nn.Module.to(halved, "cpu", torch.float16)
    halved.save_pretrained(folder)
    processor.save_pretrained(folder)


def save_account(folder: Path, run: Run, scenes: int, stages: Mapping[str, tuple[Schedule, int]]) -> None:
    """Write the training record of a model: schedule, batch size, processor time and validation metrics per stage."""
    records = {
        name: {"batch_size": batch_size, **asdict(schedule), **_measured(run.folder / f"{name}.jsonl")}
        for name, (schedule, batch_size) in stages.items()
    }
    account = {"seed": run.seed, "train_scenes": scenes, "stages": records}
    (folder / TRAINING_FILE).write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")


def _measured(metrics: Path) -> dict[str, object]:
    """Return processor minutes and validation metrics; for steps that were repeated after a stop, the last count."""
    losses: dict[int, dict[str, float]] = {}
    curve: dict[int, dict[str, float]] = {}
    for line in metrics.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        if "validation" in values:
            curve[values["step"]] = values["validation"]
        else:
            losses[values["step"]] = values
    steps = sorted(losses)
    seconds = sum(
        (step - before) * losses[step]["cpu_s_per_step"] for before, step in zip([0, *steps], steps, strict=False)
    )
    return {
        "cpu_minutes": round(seconds / 60, 1),
        "validation": [{"step": step, **curve[step]} for step in sorted(curve)],
    }
