"""The way of an image through models to an outcome. Owns the chain of stages of a build, and where each of them runs.

Imports torch, which builds without models do not need.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from weakref import finalize

from datasetkit.annotation.tasks import Annotator, Task, drop_of
from datasetkit.core.protocols import Entry, Reading
from datasetkit.core.record import Record
from datasetkit.export.output.part import Outcome
from datasetkit.pipeline.finishing import Finisher, Item, Words, dropped
from datasetkit.runtime.stages.chain import pool_of, run
from datasetkit.runtime.stages.gathering import Bounds
from datasetkit.runtime.stages.kinds import CpuStage, Failed, Stage
from datasetkit.runtime.stages.timers import Stages

# Where the device is the CPU itself, more threads would only take cores from the models.
_LANES_BESIDE_CPU = 4
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class _Way:
    """An entry, and its image on its way; None if the entry is dropped or finished."""

    item: Item
    task: Task | None


class Staged:
    """Takes readings through models, and finishes them.

    Processes beside a GPU, or threads beside a CPU, do all that is not a forward pass. They end with :meth:`close`, or
    when the object is no longer used.

    Args:
        annotator: has the stages of the models.
        words: links words with the source's objects, if models do not find others.
        finisher: makes outcomes.
        window: the most images from the first of an incomplete batch to the latest one.
        workers: number of processes.
        stages: timers.

    """

    def __init__(
        self,
        annotator: Annotator,
        words: Words | None,
        finisher: Finisher,
        *,
        window: int,
        workers: int,
        stages: Stages,
    ) -> None:
        self._annotator = annotator
        self._words = words
        self._finisher = finisher
        self._bounds = Bounds(window)
        self._stages = stages
        if annotator.device.partition(":")[0] == "cpu":
            self._pool = pool_of(self._chain(), min(workers, _LANES_BESIDE_CPU), "threads")
        else:
            self._pool = pool_of(self._chain(), workers, "processes")
        self.close = finalize(self, self._pool.close)

    def run(self, items: Iterable[Item]) -> Generator[Item]:
        """Yield the items in order, each with an outcome, or with the drop with which it came."""
        self._annotator.begin_part()
        ways = (_Way(item, Task(item.state) if isinstance(item.state, Reading) else None) for item in items)
        for done in run(ways, self._chain(), self._pool, self._stages, bounds=self._bounds, weight=_pixel_bytes):
            if not isinstance(done, Failed):
                yield done.item
            elif done.item.task is not None:
                drop = drop_of(Failed(done.item.task, done.error))
                yield replace(done.item.item, state=dropped(done.item.item.entry, drop))

    def _chain(self) -> tuple[Stage[_Way], ...]:
        align: CpuStage[_Way] | None = None
        if self._words is not None:
            align = CpuStage(name="align", ask=_reading, answer=_with_record, function=self._words)
        return (
            *(stage.within(lambda way: way.task, _with_task) for stage in self._annotator.stages()),
            *(() if align is None else (align,)),
            CpuStage(name="draw", ask=_finished, answer=_with_outcome, function=self._finisher),
        )


def _with_task(way: _Way, task: Task) -> _Way:
    return replace(way, task=task)


def _reading(way: _Way) -> Reading | None:
    return None if way.task is None else way.task.reading


def _with_record(way: _Way, record: Record) -> _Way:
    return way if way.task is None else replace(way, task=Task(replace(way.task.reading, record=record)))


def _finished(way: _Way) -> tuple[Entry, Reading] | None:
    return None if way.task is None else (replace(way.item.entry, handle=None), way.task.reading)


def _with_outcome(way: _Way, outcome: Outcome) -> _Way:
    return _Way(replace(way.item, state=outcome), None)


def _pixel_bytes(way: _Way) -> int:
    return 0 if way.task is None else way.task.reading.pixels.width * way.task.reading.pixels.height * _CHANNELS
