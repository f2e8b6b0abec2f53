"""The commands for heads: ``score``, ``knockout``, ``ablate``, ``sparsify``, ``tune``, ``compare`` and ``report``."""

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
    """If interrupted, run the same command again to resume. Works under torchrun and accelerate launch."""
    _run(run_score, options, screen, "rows")


def knockout(options: KnockoutCommand, screen: Screen) -> None:
    """Measure how far the probability of the answer falls. If interrupted, run the same command again to resume."""
    _run(run_knockout, options, screen, "questions")


def ablate(options: AblateCommand, screen: Screen) -> None:
    """Ablate the highest-ranked, the lowest-ranked and random heads, and measure descriptions and answers.

    If interrupted, run the same command again to resume; more rankings, modes or doses are added to earlier results.
    """
    _run(run_ablate, options, screen)


def sparsify(options: SparsifyCommand, screen: Screen) -> None:
    """Measure time, memory and quality of the dense model, of the plan, and of plans that keep random heads.

    If interrupted, run the same command again to resume; more draws are added to earlier results.
    """
    _run(run_sparsify, options, screen)


def tune(options: TuneCommand, screen: Screen) -> None:
    """Test the model before and after tuning.

    If interrupted, run the same command again to resume. Under torchrun or accelerate launch, processes train together.
    """
    _run(run_tune, options, screen)


def compare(options: CompareCommand, screen: Screen) -> None:
    """Tune each selection with several seeds, and compare the shifts from the untuned model.

    If interrupted, run the same command again to resume; more selections or seeds are added to earlier results.
    """
    _run(run_compare, options, screen)


def report(options: ReportCommand, screen: Screen) -> None:
    """Write an HTML page with a verdict on each claim of the papers."""
    screen.show(run_report(options))


def _run(
    work: Callable[[Command, OnProgress], Result | None], options: Command, screen: Screen, unit: str = ""
) -> None:
    """Run the work, showing progress and the result in one process only."""
    shown = screen if is_first_process() else screen.model_copy(update={"quiet": True})
    with shown.progress(unit=unit) as bar:
        found = work(options, bar)
    if found is not None:
        shown.show(found)
