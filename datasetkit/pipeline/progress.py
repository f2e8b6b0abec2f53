"""Progress of a build, from that of its parts. Owns what is counted while several parts are under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from datasetkit.pipeline.work import PartProgress
from datasetkit.runtime.engines.protocol import Task
from datasetkit.runtime.timers import Stages

# Only slower stages are reported: one that handles more images per second is not a bottleneck.
_FAST = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a build.

    Args:
        stage: "loading" models, "hashing" images, or "building".
        done: models loaded, or entries done.
        total: how many there are.
        detail: further information: the models' names; drops, and the rate of each slow stage, slowest first.

    """

    stage: str
    done: int
    total: int
    detail: str = ""


OnProgress = Callable[[Progress], None]


class PartsProgress:
    """Adds up the progress of parts, those under way included.

    Args:
        total: number of entries.
        on_progress: called at the start, and after every report.

    """

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = self._dropped = 0
        self._stages = Stages()
        self._under_way: dict[int, PartProgress] = {}
        self._shown = -1
        self._report()

    def skip(self, entries: int, dropped: int) -> None:
        """Count a part that is complete already."""
        self._done += entries
        self._dropped += dropped
        self._report()

    def tell(self, task: Task, progress: PartProgress) -> None:
        """Count what a worker reports of the part that it is building."""
        self._under_way[task.number] = progress
        self._report()

    def died(self, task: Task) -> None:
        """Forget a part whose worker died."""
        self._under_way.pop(task.number, None)
        self._report()

    def done(self, task: Task, progress: PartProgress) -> None:
        """Count a part that is complete."""
        self._under_way.pop(task.number, None)
        self._done += progress.done
        self._dropped += progress.dropped
        self._stages.add(progress.stages)
        self._report()

    def _report(self) -> None:
        done = self._done + sum(one.done for one in self._under_way.values())
        if done == self._shown:
            return
        self._shown = done
        stages = Stages()
        for snapshot in (self._stages.snapshot(), *(one.stages for one in self._under_way.values())):
            stages.add(snapshot)
        dropped = self._dropped + sum(one.dropped for one in self._under_way.values())
        slowest_first = sorted(stages.rates.items(), key=lambda stage: stage[1])
        slow = (f"{name} {pace:.2g}/s" for name, pace in slowest_first if pace < _FAST)
        self._on_progress(Progress("building", done, self._total, " ".join((f"{dropped} dropped", *slow))))
