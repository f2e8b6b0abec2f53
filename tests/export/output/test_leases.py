"""Locks in a store: one holder at a time, taken over when it is silent, and noticed by the one that lost it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator

import pytest

from datasetkit.core.errors import BusyError
from datasetkit.core.remote import RemotePath
from datasetkit.export.output import leases as module
from datasetkit.export.output.leases import Leases


@pytest.fixture
def place() -> Iterator[RemotePath]:
    place = RemotePath(f"memory://leases-{uuid.uuid4().hex}/out")
    yield place
    for name in place.files():
        (place / name).remove()


@pytest.fixture
def leases(place: RemotePath, monkeypatch: pytest.MonkeyPatch) -> Leases:
    set_times(monkeypatch, renew_s=0.02, stale_s=30)
    return Leases(place / "locks", place)


def set_times(monkeypatch: pytest.MonkeyPatch, *, renew_s: float, stale_s: float) -> None:
    monkeypatch.setattr(module, "RENEW_S", renew_s)
    monkeypatch.setattr(module, "STALE_S", stale_s)
    monkeypatch.setattr(module, "POLL_S", 0.01)


def test_lock_that_is_renewed_is_refused(leases: Leases) -> None:
    lease = leases.take("all")
    with pytest.raises(BusyError, match=r"another process is building memory://.*/out \(process \d+ on .*, since 20"):
        leases.take("all")
    lease.check(is_thorough=True)
    other = leases.take("shard-0-of-2")
    assert len(leases.held(lambda name: name.startswith("shard"), is_patient=True)) == 1
    for one in (lease, other):
        one.release()
    assert leases.held(lambda _: True, is_patient=False) == []
    leases.take("all").release()


def test_released_lock_leaves_no_file(leases: Leases, place: RemotePath) -> None:
    lease = leases.take("all")
    while not any(name.count(".") == 2 and not name.endswith(".json") for name in place.files()):
        threading.Event().wait(0.01)
    lease.release()
    assert place.files() == {}


def test_silent_holder_is_taken_over_and_notices(
    leases: Leases, place: RemotePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_times(monkeypatch, renew_s=3600, stale_s=0.1)
    first = leases.take("all")
    with caplog.at_level(logging.INFO):
        second = leases.take("all")
    assert "to release it, or for 0 s without a sign of life" in caplog.text
    first.check(is_thorough=False)
    for is_thorough in (True, False):
        with pytest.raises(BusyError, match="another one has taken over its work"):
            first.check(is_thorough=is_thorough)
    first.release()
    second.check(is_thorough=True)
    third = leases.take("all")
    with pytest.raises(BusyError):
        second.check(is_thorough=True)
    third.release()
    assert place.files() == {}


def test_holder_notices_a_takeover_when_it_renews(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    first = leases.take("all")
    set_times(monkeypatch, renew_s=0.02, stale_s=0)
    second = leases.take("all")
    first._thread.join()
    with pytest.raises(BusyError):
        first.check(is_thorough=False)
    second.release()


def test_lock_of_a_process_that_ended_is_taken_at_once(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "getpid", lambda: 2**22 + 1)  # no system has such a process
    leases.take("all")
    assert leases.held(lambda _: True, is_patient=False) == []
    second = leases.try_take("all")
    assert second is not None
    monkeypatch.setattr(module, "_machine", lambda: "another machine")
    assert leases.try_take("all") is None
    second.release()


def test_locks_of_silent_holders_are_removed(
    leases: Leases, place: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(monkeypatch, renew_s=3600, stale_s=0.1)
    for index in range(3):
        leases.take(f"shard-{index}-of-3")
    assert len(leases.held(lambda _: True, is_patient=False)) == 3
    assert leases.held(lambda name: name != "shard-1-of-3", is_patient=True) == []
    assert {*place.files()} == {"locks/shard-1-of-3.000001.json"}
    (place / "locks/shard-0-of-3.000001.0123456789abcdef").write_bytes(b"7")
    leases.tidy()
    assert {*place.files()} == {"locks/shard-1-of-3.000001.json"}


def test_one_of_many_takes_a_lock(leases: Leases, place: RemotePath) -> None:
    taken = [leases.try_take("all") for _ in range(3)]
    assert [lease is not None for lease in taken] == [True, False, False]
    # The file of an epoch is written on the condition that there is none.
    (place / "locks" / "all.000002.json").write_bytes(b"not JSON")
    assert leases.try_take("all") is None
    assert taken[0] is not None
    with pytest.raises(BusyError):
        taken[0].check(is_thorough=True)


def test_store_that_ignores_conditions_is_reported(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ignoring(path: RemotePath, data: bytes) -> bool:
        path.write_bytes(data)
        return True

    monkeypatch.setattr(RemotePath, "create", ignoring)
    lease = leases.take("all")
    assert "has no conditional writes" in caplog.text
    lease.check(is_thorough=True)
    lease.release()
