"""A test Hub that the clients of this process talk to, and folders to push to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.publish.pushing import build
from tests.hub.clients import talk_to
from tests.hub.server import HubServer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(part_bytes=2**14) as server:
        talk_to(server, tmp_path / "home", monkeypatch)
        yield server


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards and one; read-only."""
    return build(tmp_path_factory.mktemp("push") / "scenes")


@pytest.fixture(scope="session")
def fewer_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other records, in two shards and one; read-only."""
    return build(tmp_path_factory.mktemp("push") / "fewer", train=(2, 1), test=1, first=50)


@pytest.fixture
def own_scenes(scenes: Path, tmp_path: Path) -> Path:
    """Copy that a test may damage."""
    return shutil.copytree(scenes, tmp_path / "scenes")
