from __future__ import annotations

import threading

import pytest

from datasetkit.runtime.timers import Stages


def test_stages_count_items_in_the_order_they_were_heard_of() -> None:
    stages = Stages()
    for stage, items in (("detect", 3), ("segment", 1), ("detect", 2)):
        with stages.timed(stage, items):
            pass
    assert stages.items == {"detect": 5, "segment": 1}
    assert list(stages.rates) == ["detect", "segment"]
    assert stages.rates["detect"] == 5 / stages.seconds["detect"]


def test_time_of_a_failed_body_counts_and_its_items_do_not() -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="broken"), stages.timed("detect", 3):
        raise ValueError("broken")
    assert stages.items == {"detect": 0}
    assert stages.seconds["detect"] > 0


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
    assert stages.items == {"read": 4000}
