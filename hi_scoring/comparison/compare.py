"""Run cells into one folder and read them back. Owns the folder's layout and which cells a process runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

from datasetkit.core.errors import BuiltFolderError, OutputError
from datasetkit.hi_scoring.comparison.bench import Bench, check_trials
from datasetkit.hi_scoring.comparison.cells import TEST, CellResult, is_finished, load_cell
from datasetkit.hi_scoring.comparison.trials import UNTUNED, Trial, group_order
from datasetkit.hi_scoring.runs.folder import RunFolder
from datasetkit.hi_scoring.scores.run import Share
from datasetkit.runtime.progress import OnProgress

CELLS_NAME = "cells"


@dataclass(frozen=True, eq=False)
class Comparison:
    """The finished cells of a folder.

    Args:
        groups: cells by row of the table, one cell per seed: for each size top, random and bottom, then the others.

    """

    untuned: CellResult
    groups: dict[str, tuple[CellResult, ...]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read all finished cells of a folder.

        Raises:
            BuiltFolderError: the cell of the untuned model or all other cells are missing, or one is damaged.

        """
        paths = [path for path in sorted((folder / CELLS_NAME).glob("*")) if is_finished(path)]
        cells = [load_cell(path) for path in paths]
        again = "remove it, and run the same command again"
        for path, cell in zip(paths, cells, strict=True):
            if cell.name != path.name or (cell.selection is None) != (cell.group == UNTUNED):
                raise BuiltFolderError(f"{path} holds the cell {cell.name} of {cell.group}; {again}")
            if TEST not in cell.measures or cell.measures != cells[0].measures:
                raise BuiltFolderError(f"{path} was tested on other samples or with other metrics; {again}")
        untuned = [cell for cell in cells if cell.group == UNTUNED]
        tuned = sorted(
            (cell for cell in cells if cell.group != UNTUNED),
            key=lambda cell: (group_order(cell.group), cell.seed, cell.name),
        )
        if not untuned or not tuned:
            raise BuiltFolderError(f"{folder} holds no finished comparison; run it to its end")
        return cls(untuned[0], {group: tuple(runs) for group, runs in groupby(tuned, lambda cell: cell.group)})


def compare(
    bench: Bench,
    trials: Sequence[Trial],
    folder: Path,
    command: str,
    *,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Comparison | None:
    """Run trials; continue where earlier calls were interrupted, and add to what they finished.

    Args:
        bench: what all trials share.
        trials: the trials to run, including that of the untuned model.
        folder: where results are written.
        command: the name of this command, for the folder's note.
        shard: index of this process, from 0, and number of processes; trial i is run by process i modulo their number.
        overwrite: whether results of another bench in the folder are replaced.
        on_progress: see :data:`~datasetkit.runtime.progress.OnProgress`.

    Returns:
        everything in the folder, once every trial is finished; None before, when other processes are still running.

    Raises:
        OutputError: the folder holds other results, or a trial's results for another row of the table.
        ModelError, RecipeError, MissingPackageError: see :func:`check_trials`; nothing was run.

    """
    check_trials(trials, bench.subject, bench.adapter, bench.training)
    note = RunFolder(folder, command, bench.description())
    cells = folder / CELLS_NAME
    note.check(has_results=any(map(is_finished, cells.glob("*"))), overwrite=overwrite)
    if note.is_ours:
        _check_groups(trials, cells)
    with Share.of_launcher() as share:
        share.wait()
        if share.rank == 0:
            if note.is_anothers:
                shutil.rmtree(cells, ignore_errors=True)
            if not note.is_ours:
                note.claim()
        share.wait()
        number, processes = shard
        for trial in trials[number::processes]:
            bench.try_out(trial, cells / trial.name, share, on_progress)
    if not all(is_finished(cells / trial.name) for trial in trials):
        return None
    return Comparison.load(folder)


def _check_groups(trials: Sequence[Trial], cells: Path) -> None:
    """Refuse trials that were run for another row of the table: random draws with and without a given seed."""
    for trial in trials:
        folder = cells / trial.name
        if is_finished(folder) and (group := load_cell(folder).group) != trial.group:
            raise OutputError(
                f"{folder} was run for {group}, not for {trial.group}; select that, or give another --out"
            )
