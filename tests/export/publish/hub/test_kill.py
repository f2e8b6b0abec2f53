"""A push that is killed at any moment and repeated ends as an undisturbed one, and sends no complete file twice.

By default it is killed during a few of its requests. More, at random moments::

    DATASETKIT_PUSH_KILLS=20 python -m pytest tests/export/hub/test_kill.py
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.export.publish.pushing import NAME, expected, held, push_to
from tests.hub.clients import forget
from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.processes import command

PUSH = command("push")

# A push of these files makes so many requests.
REQUESTS = 49


@dataclass(frozen=True, slots=True)
class Moment:
    """Amid the `number`-th request of a kind (from 0; a pattern), when this many bytes of it have arrived."""

    kind: str
    number: int = 0
    after_bytes: int = 0


STRIDE = (
    Moment("^preupload "),
    Moment("^lfs-part ", 6, 5000),
    Moment("^lfs-verify ", 2),
    Moment("^commit ", 0, 10**9),
    Moment("^tag "),
)


def moments() -> list[Moment]:
    seed = int(os.environ.get("DATASETKIT_PUSH_SEED", "0"))
    chance = random.Random(seed)
    count = int(os.environ.get("DATASETKIT_PUSH_KILLS", "0"))
    return [*STRIDE, *(Moment("", chance.randrange(REQUESTS), chance.randrange(2**14)) for _ in range(count))]


def wait_until_nobody_is_served() -> None:
    """Requests of the killed process may still be processed."""
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)


def push_and_kill(hub: HubServer, folder: Path, home: Path, moment: Moment) -> None:
    process: list[subprocess.Popen[str]] = []

    def kill() -> None:
        process[0].kill()
        process[0].wait()
        raise ConnectionResetError

    hub.faults.add(Fault(moment.kind, "call", skip=moment.number, after_bytes=moment.after_bytes, call=kill))
    command = [*PUSH, str(folder), NAME, "--tag", "v1"]
    process.append(
        subprocess.Popen(
            command, env=hub.environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    )
    shown, _ = process[0].communicate(timeout=120)
    assert process[0].returncode == -9, shown
    assert hub.token not in shown
    hub.faults.clear()
    wait_until_nobody_is_served()


@pytest.mark.parametrize("moment", moments(), ids=str)
@pytest.mark.slow
def test_a_killed_push_is_made_again(hub: HubServer, scenes: Path, tmp_path: Path, moment: Moment) -> None:
    push_and_kill(hub, scenes, tmp_path / "other home", moment)
    forget()
    push_to(hub, scenes, tag="v1")
    assert held(hub, "v1") == held(hub) == expected(hub, scenes)
    assert len(hub.repository(NAME).history()) == 2
    assert set(hub.traffic.completed.values()) == {1}, "a file that the Hub had whole was sent again"
