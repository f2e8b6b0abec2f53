"""Plots of the joint report: equal results give equal bytes, others do not, and unmeasured values are not drawn."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.joined.figures import dose_curves, dosed, knockout_curves, sparsity_bars, tracking_curves
from datasetkit.hi_scoring.sparse.bench import Sparsity
from tests.hi_scoring.joined.made import AS_TOLD, ablated, blocked, sparsified


def drawn(folder: Path, *, loss: float) -> list[bytes]:
    knocked = Knockouts.load(blocked(folder / "blocked", AS_TOLD | {"image -> last": (loss, 1, 1, 1)}))
    taken = Ablations.load(ablated(folder / "ablated", {"ram:last": loss / 100}))
    [metric] = dosed(taken)
    spared = Sparsity.load(sparsified(folder / "sparse", core=loss / 100))
    return [knockout_curves(knocked), dose_curves(taken, metric), sparsity_bars(spared), tracking_curves(knocked)]


@pytest.mark.slow
def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    first = drawn(tmp_path / "first", loss=30)
    assert first == drawn(tmp_path / "again", loss=30)
    other = drawn(tmp_path / "other", loss=60)
    assert not set(first[:3]) & set(other[:3])
    for png in first:
        width, height = Image.open(io.BytesIO(png)).size
        assert 300 < width <= 1320
        assert 150 < height < 1320


def width_of_bars(folder: Path) -> int:
    return Image.open(io.BytesIO(sparsity_bars(Sparsity.load(folder)))).width


@pytest.fixture(scope="module")
def with_memory(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The width of the bars if memory was measured."""
    return width_of_bars(sparsified(tmp_path_factory.mktemp("joined") / "seen"))


@pytest.mark.parametrize("peak", [0.0, float("nan")])
def test_unmeasured_memory_has_no_panel(with_memory: int, tmp_path: Path, peak: float) -> None:
    assert width_of_bars(sparsified(tmp_path / "unseen", peak=peak)) < with_memory
