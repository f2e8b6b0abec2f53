"""Fixtures of the tests that build."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.buckets import ObjectStore
    from tests.pipeline.proxy import FaultyProxy


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the plots, which take longer than the rest of a small build."""
    monkeypatch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[FaultyProxy]:
    """A proxy in front of the object store."""
    from tests.pipeline.proxy import FaultyProxy

    proxy = FaultyProxy(object_store.environment["AWS_ENDPOINT_URL"])
    yield proxy
    proxy.stop()
