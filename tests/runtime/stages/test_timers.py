"""Clocks of stages: items, rates, busy shares, sums over workers."""

from __future__ import annotations

import threading

import pytest

from datasetkit.runtime.stages.timers import Snapshot, Stages, Work


def test_stages_count_items_in_the_order_of_their_first_use() -> None:
    stages = Stages()
    for stage, items in (("detect", 3), ("segment", 1), ("detect", 2)):
        with stages.timed(stage, items):
            pass
    found = stages.snapshot()
    assert [(name, work.items) for name, work in found.stages.items()] == [("detect", 5), ("segment", 1)]
    assert found.rates["detect"] == 5 / found.stages["detect"].seconds


def test_time_of_a_failed_body_counts_and_its_items_do_not() -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="broken"), stages.timed("detect", 3):
        raise ValueError("broken")
    work = stages.snapshot().stages["detect"]
    assert work.items == 0
    assert work.seconds > 0


def test_threads_lose_nothing() -> None:
    stages = Stages()

    def work() -> None:
        for _ in range(500):
            with stages.timed("read", 2):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.snapshot().stages["read"].items == 4000


def test_taking_begins_anew_and_keeps_the_lanes() -> None:
    stages = Stages()
    stages.declare("draw", 4)
    stages.count("draw", 2.0, 3)
    assert stages.take().stages == {"draw": Work(2.0, 3, lanes=4)}
    assert stages.snapshot().stages == {"draw": Work(0.0, 0, lanes=4)}
    assert stages.snapshot().rates == {}


ONE = Snapshot(10.0, {"detect": Work(6.0, 12, on_device=True), "draw": Work(8.0, 16, lanes=4)})


def test_rates_and_busy_shares_count_lanes() -> None:
    assert ONE.rates == {"detect": 2.0, "draw": 8.0}
    assert ONE.busy == {"detect": 0.6, "draw": 0.2}


def test_the_device_is_as_busy_as_its_stages_together() -> None:
    both = Snapshot(10.0, {**ONE.stages, "segment": Work(3.0, 12, on_device=True)})
    assert both.device_busy == pytest.approx(0.9)
    assert Snapshot(10.0, {"draw": Work(8.0, 16)}).device_busy is None


def test_sum_of_two_workers_is_their_mean_business() -> None:
    idle = Snapshot(10.0, {"segment": Work(1.0, 2), "detect": Work(0.0, 0, on_device=True)})
    found = ONE + idle
    assert found.elapsed == 20.0
    assert found.busy == {"detect": 0.3, "draw": 0.1, "segment": 0.05}
    assert list(found.stages) == ["detect", "draw", "segment"]


def test_all_counters_are_plain_values() -> None:
    assert ONE.as_json() == {
        "elapsed_s": 10.0,
        "device_busy": 0.6,
        "stages": {
            "detect": {"items": 12, "seconds": 6.0, "lanes": 1, "items_per_s": 2.0, "busy": 0.6, "halvings": 0},
            "draw": {"items": 16, "seconds": 8.0, "lanes": 4, "items_per_s": 8.0, "busy": 0.2, "halvings": 0},
        },
    }
