"""Fixtures of the tests that build."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the plots, which take longer than the rest of a small build."""
    monkeypatch.setattr("datasetkit.export.dataset.describe.write_plots", lambda *_: ())
