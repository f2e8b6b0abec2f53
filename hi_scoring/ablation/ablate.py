"""Run conditions into one folder and read them back. Owns the folder's layout, its files, and what is run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from datasetkit.hi_scoring.ablation.bench import Bench
from datasetkit.hi_scoring.ablation.plan import Plan, Trial
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.ablation.table import Effects
from datasetkit.hi_scoring.evaluation.metrics import Measured, measured_of
from datasetkit.hi_scoring.runs.drops import DROPS_NAME, write_drops
from datasetkit.hi_scoring.runs.facts import checked_text
from datasetkit.hi_scoring.runs.files import write_arrays
from datasetkit.hi_scoring.runs.folder import RunFolder
from datasetkit.hi_scoring.runs.reading import read_arrays
from datasetkit.options.base import plain
from datasetkit.runtime.progress import OnProgress

CONDITIONS_NAME, UNABLATED = "conditions", "unablated"
_SUFFIX = ".safetensors"


def ablate(
    bench: Bench,
    plan: Plan,
    folder: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Ablations:
    """Run all conditions; continue where an earlier call was interrupted, and add to what it finished.

    Args:
        bench: what all conditions share.
        plan: the trials to run.
        folder: where results are written; conditions that are finished in it are not run again, and equal results are
            loaded.
        overwrite: whether finished results in the folder are replaced, also those of the same bench, so that everything
            is measured again; an interrupted run of the same bench is continued.
        on_progress: see :data:`~datasetkit.runtime.progress.OnProgress`.

    Raises:
        OutputError: the folder holds other results.
        SourceError: see :meth:`Bench.check`.
        ModelError: the model cannot be loaded, its family is unknown, or a single example does not fit into memory;
            finished conditions stay.

    """
    bench.check(plan.options.modes)
    note = RunFolder(folder, "datasetkit ablate", bench.description())
    parts = folder / CONDITIONS_NAME
    is_finished = Ablations.facts_of(folder) is not None
    note.check(has_results=is_finished or any(parts.glob(f"*{_SUFFIX}")), overwrite=overwrite)
    if note.is_anothers or (overwrite and is_finished):
        # Conditions first: without the tables, conditions that are left would count as those of an interrupted run.
        shutil.rmtree(parts, ignore_errors=True)
        Ablations.remove(folder)
        (folder / DROPS_NAME).unlink(missing_ok=True)
    if not note.is_ours:
        note.claim()
    parts.mkdir(exist_ok=True)
    examples = bench.examples
    facts = {
        **plain(bench.description()),
        "n": len(examples.image_ids),
        "rows": {"read": len(examples.data), "used": len(examples.rows), "dropped": len(examples.drops)},
        **plan.as_json(),
    }
    if Ablations.facts_of(folder) == facts:
        return Ablations.load(folder)
    write_drops(folder, examples.drops)
    measured = _measured(bench, plan.trials, parts, on_progress)
    effects = Effects(measured[UNABLATED], plan.trials, measured, plan.shape)
    found = Ablations(effects.curves(), effects.contrasts(), facts)
    found.save(folder)
    return found


def _measured(bench: Bench, trials: Sequence[Trial], parts: Path, on_progress: OnProgress) -> dict[str, Measured]:
    """Measure the conditions that have no file yet, including the unablated model, and read all files."""
    conditions = {UNABLATED: None, **{trial.condition.name: trial.condition for trial in trials}}
    measured = {}
    for number, (name, condition) in enumerate(conditions.items()):
        path = parts / f"{name}{_SUFFIX}"
        if not path.exists():
            found = bench.measure(condition, on_progress)
            write_arrays(path, found.statistics, {"sample_ids": json.dumps(list(found.sample_ids))})
        measured[name] = _load(path)
        on_progress("conditions", number + 1, len(conditions))
    return measured


def _load(path: Path) -> Measured:
    """Read the measurements of a condition.

    Raises:
        BuiltFolderError: its file is damaged.

    """
    again = "remove it, and run the same command again"
    arrays, metadata = read_arrays(path, "ablation", again)
    told = checked_text(path, metadata, "sample_ids", list[str], again)
    return measured_of(path, told, arrays, again)
