"""What the tests of the test Hub share: a client, and a client that does not wait before it tries again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, file_download
from huggingface_hub.utils import _http

from tests.hub.server import HubServer
from tests.hub.store import Repository


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi()


@pytest.fixture
def repository(hub: HubServer) -> Repository:
    return hub.create("user/name")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that huggingface_hub meant to wait."""
    seconds: list[float] = []
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=seconds.append, time=module.time.time))
    return seconds
