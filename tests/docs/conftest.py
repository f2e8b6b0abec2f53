"""A reader of the documentation: a folder, in which commands talk to a Hub and to a store of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.buckets import ObjectStore
from tests.conftest import REPOSITORY
from tests.docs.provided import provide
from tests.docs.session import Session
from tests.hub.server import HubServer


@pytest.fixture
def reader(
    tmp_path: Path, hub: HubServer, object_store: ObjectStore, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Session]:
    """Begin a page with what it names laid out."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)

    def begin(page: str) -> Session:
        folder = tmp_path / "reader"
        folder.mkdir()
        provide((REPOSITORY / page).read_text(encoding="utf-8"), folder, hub, object_store)
        return Session(folder, monkeypatch)

    return begin
