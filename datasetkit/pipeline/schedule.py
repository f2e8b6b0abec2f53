"""Which tasks of a build come next. Owns what follows when a worker dies.

A part whose worker died is given to another one. After the third death its records are tried one by one, each by
itself: one whose worker dies twice is fatal. The part is then built without the fatal records, which are dropped with a
reason. A part that still kills its worker becomes a part of drops. ``--retry-failed`` takes up both.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from datasetkit.core.text import counted
from datasetkit.pipeline.work import PartTask, Trial
from datasetkit.runtime.engines.protocol import Task

logger = logging.getLogger(__name__)

_DEATHS_BEFORE_TRIAL = 3
_DEATHS_OF_A_FATAL_RECORD = 2


@dataclass(slots=True)
class _Trouble:
    """A part whose workers died.

    Attributes:
        part: the part.
        deaths: how many workers died on it.
        trials: its records that are being tried, by task number.
        fatal: the ids of fatal records.
        was_tried: whether all records were tried.

    """

    part: PartTask
    deaths: int = 0
    trials: dict[int, Trial] = field(default_factory=dict)
    fatal: set[str] = field(default_factory=set)
    was_tried: bool = False


class Schedule:
    """The tasks of a build, in order; tasks that have to be repeated come first.

    Args:
        parts: the parts to build; read one by one, as workers ask for them.

    """

    def __init__(self, parts: Iterable[PartTask]) -> None:
        self._parts: Iterator[PartTask] = iter(parts)
        self._again: deque[Task] = deque()
        self._numbers = itertools.count()
        self._troubles: dict[int, _Trouble] = {}
        self._trials: dict[int, tuple[_Trouble, int]] = {}

    def next_task(self) -> Task | None:
        """Return the next task; None if there is none now."""
        if self._again:
            return self._again.popleft()
        part = next(self._parts, None)
        return None if part is None else self._task(part)

    def done(self, task: Task) -> None:
        """Note that a task is done."""
        if isinstance(task.payload, Trial):
            self._tried(task, is_fatal=False)
        else:
            self._troubles.pop(task.payload.index, None)

    def died(self, task: Task, how: str) -> None:
        """Decide what follows the death of a worker."""
        if isinstance(task.payload, Trial):
            trouble, deaths = self._trials[task.number]
            self._trials[task.number] = trouble, deaths + 1
            if deaths + 1 < _DEATHS_OF_A_FATAL_RECORD:
                self._again.append(task)
            else:
                self._tried(task, is_fatal=True)
            return
        part: PartTask = task.payload
        trouble = self._troubles.setdefault(part.index, _Trouble(part))
        trouble.deaths += 1
        if trouble.deaths < _DEATHS_BEFORE_TRIAL:
            logger.warning("part %d is built again: its worker was %s", part.index, how)
            self._again.append(task)
        elif not trouble.was_tried:
            logger.warning(
                "part %d: %d workers died on it (the last: %s); its records are tried one by one",
                part.index,
                trouble.deaths,
                how,
            )
            self._try_records(trouble)
        else:
            logger.error("part %d: workers die on it without its fatal records, too; all of it is dropped", part.index)
            self._again.append(self._task(replace(part, fatal=frozenset(one.record_id for one in part.entries))))

    def _try_records(self, trouble: _Trouble) -> None:
        for entry in trouble.part.entries:
            task = self._task(Trial(entry))
            trouble.trials[task.number] = task.payload
            self._trials[task.number] = trouble, 0
            self._again.append(task)

    def _tried(self, task: Task, *, is_fatal: bool) -> None:
        """Note the result of a trial; after the last one, have the part built without its fatal records."""
        trouble, _ = self._trials.pop(task.number)
        trial = trouble.trials.pop(task.number)
        if is_fatal:
            trouble.fatal.add(trial.entry.record_id)
        if not trouble.trials:
            trouble.was_tried = True
            found = counted(len(trouble.fatal), "record")
            logger.warning("part %d is built without %s whose worker died each time", trouble.part.index, found)
            self._again.append(self._task(replace(trouble.part, fatal=frozenset(trouble.fatal))))

    def _task(self, payload: PartTask | Trial) -> Task:
        return Task(next(self._numbers), payload)
