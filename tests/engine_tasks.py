"""Tasks for engines under test, and the end of their workers."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasetkit.runtime.engines.protocol import Died, Done, Engine, Seat, Task


def seats(count: int) -> list[Seat]:
    return [Seat(number) for number in range(count)]


def carry_out(
    engine: Engine, payloads: Sequence[Any], retries: int = 3
) -> tuple[dict[int, Any], list[Died], list[Any]]:
    """Do tasks; give those of dead workers again."""
    waiting = deque(Task(number, payload) for number, payload in enumerate(payloads))
    results, deaths, told = {}, [], []
    for event in engine.run(lambda: waiting.popleft() if waiting else None, lambda _, value: told.append(value)):
        if isinstance(event, Done):
            results[event.task.number] = event.result[1]
        else:
            deaths.append(event)
            if len(deaths) <= retries:
                waiting.append(event.task)
    return results, deaths, told


def assert_gone(pids: Sequence[int]) -> None:
    end = time.monotonic() + 20
    while any(map(is_running, pids)):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())
