"""A reader of the documentation: a folder, in which commands talk to a Hub and to a store of our own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
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
) -> Iterator[Callable[[str], Session]]:
    """Begin a page with what it names laid out."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)

    folder = tmp_path / "reader"
    folder.mkdir()

    def begin(page: str) -> Session:
        provide((REPOSITORY / page).read_text(encoding="utf-8"), folder, hub, object_store)
        return Session(folder, monkeypatch)

    yield begin
    for name, module in tuple(sys.modules.items()):  # the next page may have others of the same names
        if Path(getattr(module, "__file__", None) or "").is_relative_to(folder):
            del sys.modules[name]
