"""Options of engines: seats of workers, and what each engine refuses."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from datasetkit.core.errors import MissingPackageError, RecipeError
from datasetkit.options.engines import EngineOptions, WorkerOptions
from datasetkit.runtime.engines.protocol import Seat


def test_ray_has_a_worker_with_models_per_gpu_wanted() -> None:
    options = EngineOptions(engine="ray", workers=3)
    assert options.model_seats("auto", tasks=8) == tuple(Seat(number, "auto") for number in range(3))
    assert options.model_seats("cuda", tasks=2) == (Seat(0, "cuda"), Seat(1, "cuda"))


@pytest.mark.parametrize("how", [{}, {"workers": 2, "devices": ("0", "1")}])
def test_ray_is_told_how_many_workers_load_models(how: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="give the number of workers that load the models"):
        EngineOptions(engine="ray", **how).model_seats("auto", tasks=8)


def test_address_is_for_ray_alone() -> None:
    assert WorkerOptions(engine="ray", ray_address="auto").ray_address == "auto"
    with pytest.raises(ValueError, match="--ray-address is for the engine ray, and the engine is processes"):
        WorkerOptions(ray_address="auto")


def test_missing_ray_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"needs ray, which does not work .*; run: pip install") as error:
        WorkerOptions(engine="ray", workers=2).open([Seat(0), Seat(1)])
    assert "\n" not in str(error.value)
    assert "ray" in str(error.value).partition("run: ")[2]
