"""Fixtures of the tests of the test Hub: a client, and one that retries without waiting."""

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
    """The waits that huggingface_hub requested, in seconds."""
    seconds: list[float] = []
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=seconds.append, time=module.time.time))
    return seconds
