"""Progress of a build, from that of its parts. Owns what is counted while several parts are under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from datasetkit.core.text import pace
from datasetkit.pipeline.work import PartProgress
from datasetkit.runtime.engines.protocol import Task
from datasetkit.runtime.stages.timers import Snapshot

# Only slower stages are reported: one that handles more images per second is not a bottleneck.
_FAST = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a build.

    Args:
        stage: "loading" models, "hashing" images, or "building".
        done: models loaded, or entries done.
        total: how many there are.
        detail: further information: the models' names; drops, how busy the device is, and the rate and busy share of
            each slow stage, slowest first.
        work: of each stage so far; None before "building".

    """

    stage: str
    done: int
    total: int
    detail: str = ""
    work: Snapshot | None = None


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
        self._stages = Snapshot()
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
        self._stages += progress.stages
        self._shown = -1  # the entries were reported before the part was written
        self._report()

    @property
    def work(self) -> Snapshot:
        """Work by stage so far."""
        return sum((one.stages for one in self._under_way.values()), self._stages)

    def _report(self) -> None:
        done = self._done + sum(one.done for one in self._under_way.values())
        if done == self._shown:
            return
        self._shown = done
        dropped = self._dropped + sum(one.dropped for one in self._under_way.values())
        work = self.work
        detail = ", ".join((f"{dropped} dropped", *_in_words(work)))
        self._on_progress(Progress("building", done, self._total, detail, work if work.stages else None))


def _in_words(work: Snapshot) -> Iterator[str]:
    """Yield how busy the device is, and the rate and busy share of each slow stage, the slowest first."""
    if work.device_busy is not None:
        yield f"device {work.device_busy:.0%} busy"
    busy = work.busy
    for name, rate in sorted(work.rates.items(), key=lambda stage: stage[1]):
        if rate < _FAST:
            yield f"{name} {pace(rate)} {busy[name]:.0%}"
