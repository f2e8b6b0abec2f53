"""Score a whole dataset: resumable, in one process or several. Owns the batches' files and how they are merged.

Batches are formed in the dataset's order before they are assigned to processes, and each becomes one file; the result
is merged from the files in that order. So the result does not depend on processes or interruptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datasetkit.core.errors import BuiltFolderError, OutputError, UnusableError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.hi_scoring.data.reading import Rows, read_sample
from datasetkit.hi_scoring.data.samples import Sample
from datasetkit.hi_scoring.runs.drops import counted_reasons, drops_from_json, drops_to_json, in_row_order, row_drop
from datasetkit.hi_scoring.runs.facts import Facts, checked_text
from datasetkit.hi_scoring.runs.files import write_arrays
from datasetkit.hi_scoring.runs.parts import PartedRun
from datasetkit.hi_scoring.runs.reading import read_arrays
from datasetkit.hi_scoring.scores.files import RESULT_NAMES
from datasetkit.hi_scoring.scores.scorer import SampleScores, Scorer
from datasetkit.runtime.batches import Batches
from datasetkit.runtime.launcher import process_count

PAGE_NAME = "report.html"
# A process may finish long before the slowest one; a dead process is detected by the launcher.
_PATIENCE = timedelta(days=7)

_AXES = 3


class _Part(Facts):
    """Contents of a batch's file besides its scores."""

    record_ids: list[str]
    drops: list[tuple[int | None, str, DropReason, str]]


@dataclass(frozen=True)
class Merged:
    """All samples of a run in the dataset's order.

    Args:
        values: by (score, positions), shape (n, layers, heads), NaN where a sample has no value.
        drops: the rows that are not among them.

    """

    values: Mapping[tuple[str, str], NDArray[np.float32]]
    record_ids: tuple[str, ...]
    drops: tuple[Drop, ...]


@dataclass(frozen=True)
class Share:
    """The batches of this process: those whose index modulo ``processes`` is ``rank``."""

    rank: int = 0
    processes: int = 1

    @classmethod
    @contextmanager
    def of_launcher(cls) -> Iterator[Share]:
        """Read the settings of torchrun or ``accelerate launch`` and join the other processes, if there are any."""
        processes = process_count()
        if processes == 1:
            yield cls()
            return
        # One backend between processes, and one between GPUs for training.
        has_nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=_PATIENCE)
        try:
            yield cls(torch.distributed.get_rank(), processes)
        finally:
            torch.distributed.destroy_process_group()

    def wait(self) -> None:
        """Return when all processes have reached this point."""
        if self.processes > 1:
            # A tensor in CPU memory, since GPUs would wait actively.
            torch.distributed.all_reduce(torch.zeros(1))


class Run(PartedRun):
    """One run in its folder."""

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        super().__init__(folder, "datasetkit score", description, (*RESULT_NAMES, PAGE_NAME), ".safetensors")

    def score(
        self,
        scorer: Scorer,
        rows: Rows,
        batch: int,
        share: Share,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Score the unfinished batches of this process; report how many rows all processes have finished."""
        batches = Batches(scorer.score, batch)
        numbers = range(-(-len(rows) // batch))
        for number in numbers[share.rank :: share.processes]:
            if not self.part(number).exists():
                self._score_batch(batches, rows, number * batch, min((number + 1) * batch, len(rows)), number)
                on_progress(min(len(self.finished_parts()) * batch, len(rows)))

    def _score_batch(
        self, batches: Batches[Sample, SampleScores], rows: Rows, start: int, stop: int, number: int
    ) -> None:
        samples: list[tuple[int, Sample]] = []
        drops: list[Drop] = []
        for row in range(start, stop):
            try:
                samples.append((row, read_sample(rows, row)))
            except UnusableError as error:
                drops.append(row_drop(row, rows.name(row), error))
        kept: list[tuple[str, SampleScores]] = []
        for (row, sample), result in zip(samples, batches.run([sample for _, sample in samples]), strict=True):
            if isinstance(result, UnusableError):
                drops.append(row_drop(row, sample.record_id, result))
            else:
                kept.append((sample.record_id, result))
        names = sorted({(score, place) for _, one in kept for place, scores in one.items() for score in scores})
        shape = next((values.shape for _, one in kept for scores in one.values() for values in scores.values()), None)
        missing = np.full(shape or (), np.nan, np.float32)
        arrays = {
            f"{place}/{score}": np.stack([one[place].get(score, missing) for _, one in kept]) for score, place in names
        }
        told = {"record_ids": [record_id for record_id, _ in kept], "drops": drops_to_json(in_row_order(drops))}
        write_arrays(self.part(number), arrays, {"part": json.dumps(told)})

    def merge(self, positions: Sequence[str]) -> Merged:
        """Join the files of all batches in the dataset's order.

        Args:
            positions: the positions of the result; those without scores in any sample are NaN.

        Raises:
            OutputError: no sample has scores.

        """
        parts = [_read(path) for path in self.finished_parts()]
        drops = tuple(drop for part in parts for drop in part.drops)
        filled = [part for part in parts if part.record_ids]
        if not filled:
            told = counted_reasons(drops)
            first = f"; the first: {drops[0].detail}" if drops else ""
            raise OutputError(f"no row of the dataset could be scored ({told or 'it has no rows'}{first})")
        shape = next(iter(filled[0].values.values())).shape[1:]
        values = {}
        for name in product(sorted({score for part in filled for score, _ in part.values}), positions):
            values[name] = np.concatenate(
                [part.values.get(name, np.full((len(part.record_ids), *shape), np.nan, np.float32)) for part in filled]
            )
        return Merged(values, tuple(item for part in filled for item in part.record_ids), drops)


def _read(path: Path) -> Merged:
    again = "remove it, and run the same command again"
    arrays, metadata = read_arrays(path, "part of head scores", again)
    told = checked_text(path, metadata, "part", _Part, again)
    values = {}
    for name, array in arrays.items():
        place, _, score = name.partition("/")
        if array.ndim != _AXES or len(array) != len(told.record_ids):
            raise BuiltFolderError(f"{path} is damaged: {name} has shape {array.shape}; {again}")
        values[score, place] = array
    drops = tuple(drops_from_json(told.drops))
    return Merged(values, tuple(told.record_ids), drops)
