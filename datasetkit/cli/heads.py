"""``score``, ``knockout``, ``ablate``, ``sparsify``, ``tune``, ``compare`` and ``report``: what is done with heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from datasetkit.api.experiments import run_ablate, run_knockout, run_sparsify
from datasetkit.api.joining import run_report
from datasetkit.api.scoring import run_score
from datasetkit.api.tuning import run_compare, run_tune
from datasetkit.cli.screen import Screen
from datasetkit.core.results import Result
from datasetkit.options.head_commands import (
    AblateCommand,
    CompareCommand,
    HeadsCommand,
    KnockoutCommand,
    ReportCommand,
    ScoreCommand,
    SparsifyCommand,
    TuneCommand,
)
from datasetkit.runtime.launcher import is_first_process
from datasetkit.runtime.progress import OnProgress

Command = TypeVar("Command", bound=HeadsCommand)


def score(options: ScoreCommand, screen: Screen) -> None:
    """Interrupted, the same command goes on. Under torchrun or accelerate launch, processes share the work."""
    _run(run_score, options, screen, "rows")


def knockout(options: KnockoutCommand, screen: Screen) -> None:
    """What is measured is how far the answer's probability falls. Interrupted, the same command goes on."""
    _run(run_knockout, options, screen, "questions")


def ablate(options: AblateCommand, screen: Screen) -> None:
    """The highest, the lowest and random heads are taken out, and what the model still says is measured.

    Interrupted, the same command goes on; with more rankings, modes or doses, it adds to what is there.
    """
    _run(run_ablate, options, screen)


def sparsify(options: SparsifyCommand, screen: Screen) -> None:
    """The dense model, the plan, and plans that keep random heads are measured side by side: time, memory and quality.

    Interrupted, the same command goes on; with more draws, it adds to what is there.
    """
    _run(run_sparsify, options, screen)


def tune(options: TuneCommand, screen: Screen) -> None:
    """The model is tested before and after.

    Interrupted, the same command goes on. Under torchrun or accelerate launch, processes train together.
    """
    _run(run_tune, options, screen)


def compare(options: CompareCommand, screen: Screen) -> None:
    """Each selection is tuned with several seeds; compared are the shifts from the untuned model.

    Interrupted, the same command goes on; with more selections or seeds, it adds to what is there.
    """
    _run(run_compare, options, screen)


def report(options: ReportCommand, screen: Screen) -> None:
    """The page has a verdict on each claim of the papers."""
    screen.show(run_report(options))


def _run(
    work: Callable[[Command, OnProgress], Result | None], options: Command, screen: Screen, unit: str = ""
) -> None:
    """Show progress and the result, in one process of all."""
    shown = screen if is_first_process() else screen.model_copy(update={"quiet": True})
    with shown.progress(unit=unit) as bar:
        found = work(options, bar)
    if found is not None:
        shown.show(found)
