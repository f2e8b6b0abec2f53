"""The training loop that all models share. Owns checkpoints, the learning rate schedule, metrics and the progress line.

A stage may be stopped at any time and resumes from its checkpoint, with the same result as without interruption.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

import torch
from rich.console import Console
from torch import nn

from tools.toyworld.training.muon import Muon

Losses = Mapping[str, torch.Tensor]

# Parameters of these names are not matrices between hidden states.
_NOT_HIDDEN = ("embed", "token", "head", "bias_table", "level")
_CONSOLE = Console(stderr=True, highlight=False)


class Task(Protocol):
    """Task of a stage: a module and its loss."""

    @property
    def module(self) -> nn.Module:
        """The module that is trained and stored in checkpoints."""
        ...

    def losses(self, rng: Random, step: int) -> Losses:
        """Return the parts of the loss of one step, on samples drawn from ``rng``; their sum is minimised."""
        ...

    def evaluate(self) -> Mapping[str, float]:
        """Return metrics on validation scenes."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate schedule of a stage: warm-up, a constant rate, and a linear decay to zero.

    Args:
        steps: number of updates.
        learning_rate: constant learning rate, of Muon for matrices, and of AdamW for all other parameters.
        warm_up: number of warm-up steps.
        decay: share of the steps, at the end, in which the rate falls.
        weight_decay: weight decay of matrices.
        clip: largest norm of the gradient.
        slow: parameters whose name contains one of these learn at a tenth of the rate.

    """

    steps: int
    learning_rate: float
    warm_up: int = 100
    decay: float = 0.4
    weight_decay: float = 0.01
    clip: float = 1.0
    slow: tuple[str, ...] = ()

    def factor(self, step: int) -> float:
        """Return the share of the full learning rate at a step."""
        left = (self.steps - step) / max(1, math.ceil(self.decay * self.steps))
        return min(1.0, (step + 1) / self.warm_up, left)


@dataclass(frozen=True, slots=True)
class Run:
    """Folder and intervals of a stage.

    Args:
        folder: folder of its checkpoint and metrics.
        seed: random seed of all samples.
        save_every: steps between checkpoints.
        evaluate_every: steps between evaluations; 0 for none.
        log_every: steps between log lines.

    """

    folder: Path
    seed: int = 0
    save_every: int = 100
    evaluate_every: int = 250
    log_every: int = 25


def train_stage(name: str, task: Task, schedule: Schedule, run: Run) -> None:
    """Train to the end of the schedule, from the checkpoint of the stage if it exists; save the last state there."""
    run.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = run.folder / f"{name}.pt"
    optimisers = _optimisers(task.module, schedule)
    base_rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    first = _resume(checkpoint, task.module, optimisers)
    if first:
        _CONSOLE.print(f"{name} resumes at step {first} of {schedule.steps}")
    metrics = _Metrics(name, run, schedule.steps)
    task.module.train()
    for step in range(first, schedule.steps):
        for optimiser, rates in zip(optimisers, base_rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * schedule.factor(step)
        losses = task.losses(Random(f"{run.seed}/{name}/{step}"), step)  # noqa: S311
        total = torch.stack(list(losses.values())).sum()
        task.module.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(task.module.parameters(), schedule.clip)
        for optimiser in optimisers:
            optimiser.step()
        metrics.step(step + 1, losses, float(norm))
        done = step + 1 == schedule.steps
        if done or (step + 1) % run.save_every == 0:
            _save(checkpoint, step + 1, task.module, optimisers)
        if run.evaluate_every and (done or (step + 1) % run.evaluate_every == 0):
            task.module.eval()
            with torch.inference_mode():
                metrics.evaluation(step + 1, task.evaluate())
            task.module.train()
    task.module.eval()


def _optimisers(module: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Return Muon for matrices inside the network, and AdamW for embeddings, heads, vectors and slow parameters."""
    matrices, rest, slow = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if any(part in name for part in schedule.slow):
            slow.append(parameter)
        elif parameter.ndim == 2 and not any(part in name for part in _NOT_HIDDEN):
            matrices.append(parameter)
        else:
            rest.append(parameter)
    rate = schedule.learning_rate
    groups = [{"params": rest, "lr": rate}, {"params": slow, "lr": 0.1 * rate}]
    return [
        Muon(matrices, lr=rate, weight_decay=schedule.weight_decay),
        torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _save(path: Path, step: int, module: nn.Module, optimisers: list[torch.optim.Optimizer]) -> None:
    """Write the checkpoint to a temporary file and rename it, so that a complete one always exists."""
    aside = path.with_suffix(".new")
    states = [optimiser.state_dict() for optimiser in optimisers]
    torch.save({"step": step, "module": module.state_dict(), "optimisers": states}, aside)
    aside.replace(path)


def _resume(path: Path, module: nn.Module, optimisers: list[torch.optim.Optimizer]) -> int:
    """Load the checkpoint, if any, and return the step to resume at."""
    if not path.exists():
        return 0
    device = next(module.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    module.load_state_dict(state["module"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return int(state["step"])


class _Metrics:
    """Writes mean losses since the last line, and evaluations, as JSON lines and as readable text."""

    def __init__(self, name: str, run: Run, steps: int) -> None:
        self._name = name
        self._run = run
        self._steps = steps
        self._sums: dict[str, float] = {}
        self._since = 0
        self._began = time.perf_counter()
        self._cpu_began = time.process_time()

    def step(self, step: int, losses: Losses, norm: float) -> None:
        values = {name: float(value.detach()) for name, value in losses.items()} | {"norm": norm}
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._since += 1
        if step % self._run.log_every == 0 or step == self._steps:
            seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu_began
            means = {name: round(value / self._since, 4) for name, value in self._sums.items()}
            pace = {"s_per_step": round(seconds / self._since, 3), "cpu_s_per_step": round(cpu / self._since, 3)}
            self._write({"step": step, **means, **pace})
            self._sums, self._since = {}, 0
            self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def evaluation(self, step: int, figures: Mapping[str, float]) -> None:
        self._write({"step": step, "validation": {name: round(value, 4) for name, value in figures.items()}})
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def _write(self, line: Mapping[str, object]) -> None:
        with (self._run.folder / f"{self._name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + os.linesep)
        words = "  ".join(f"{key} {value}" for key, value in line.items() if key != "step")
        _CONSOLE.print(f"{self._name} {line['step']}/{self._steps}  {words}", soft_wrap=True)
