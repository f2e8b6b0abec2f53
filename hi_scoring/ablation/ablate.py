"""Conditions run into one folder, and read back from it. Owns the folder's layout and what is run again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hi_scoring.ablation.bench import Bench
from hi_scoring.ablation.parts import SUFFIX, load_part, save_part
from hi_scoring.ablation.plan import Plan, Trial
from hi_scoring.ablation.results import Ablations
from hi_scoring.ablation.table import Effects
from hi_scoring.evaluation.metrics import Measured
from hi_scoring.runs.folder import RunFolder
from hi_scoring.runs.progress import OnProgress

CONDITIONS_NAME, UNABLATED = "conditions", "unablated"
_FORMAT = 1


def ablate(
    bench: Bench,
    plan: Plan,
    folder: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Ablations:
    """Run all conditions; go on where an earlier call was interrupted, and add to what it finished.

    Args:
        bench: what all conditions share.
        plan: what is tried.
        folder: for the results; conditions that are finished in it are not run again, and equal results are loaded.
        overwrite: whether results of another bench in the folder give way.
        on_progress: see :data:`~hi_scoring.runs.progress.OnProgress`.

    Raises:
        OutputError: the folder holds other results.
        SourceError: see :meth:`Bench.check`.
        ModelError: the model cannot be loaded, or nothing is known of its family.

    """
    bench.check(plan.options.modes)
    note = RunFolder(folder, "datasetkit ablate", bench.description())
    parts = folder / CONDITIONS_NAME
    note.check(has_results=any(parts.glob(f"*{SUFFIX}")), overwrite=overwrite)
    if note.is_anothers:
        Ablations.remove(folder)
        shutil.rmtree(parts, ignore_errors=True)
    if not note.is_ours:
        note.claim()
    parts.mkdir(exist_ok=True)
    facts = {"format": _FORMAT, **bench.description(), "n": len(bench.examples.rows), **plan.as_json()}
    if Ablations.facts_of(folder) == facts:
        return Ablations.load(folder)
    measured = _measured(bench, plan.trials, parts, on_progress)
    effects = Effects(measured[UNABLATED], plan.trials, measured, plan.shape)
    found = Ablations(effects.curves(), effects.contrasts(), facts)
    found.save(folder)
    return found


def _measured(bench: Bench, trials: Sequence[Trial], parts: Path, on_progress: OnProgress) -> dict[str, Measured]:
    """Measure the conditions that have no file yet, the model as it is among them, and read all files."""
    conditions = {UNABLATED: None, **{trial.condition.name: trial.condition for trial in trials}}
    measured = {}
    for number, (name, condition) in enumerate(conditions.items()):
        path = parts / f"{name}{SUFFIX}"
        if not path.exists():
            save_part(path, bench.measure(condition, on_progress))
        measured[name] = load_part(path)
        on_progress("conditions", number + 1, len(conditions))
    return measured
