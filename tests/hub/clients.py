"""Connection of huggingface_hub and datasets in this process to the test Hub.

Both read URLs and folders from the environment when they are imported, which has happened before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import datasets.config
import huggingface_hub
import pytest
from huggingface_hub import HfFileSystem, constants
from huggingface_hub import hf_api as hub_api

from tests.hub.server import HubServer


def talk_to(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the clients to `hub`, with its first token, caches under `home`, and no xet."""
    environment = hub.environment(home)
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _patch_hub(hub, home, monkeypatch)
    _patch_datasets(hub, home, monkeypatch)
    if (of_transformers := sys.modules.get("transformers.utils.hub")) is not None:
        monkeypatch.setattr(of_transformers, "_hf_api", None)  # it keeps the address of the Hub that it first asked
    forget()


def forget() -> None:
    """Drop what the clients remember of a Hub: open connections, and what is in which repository."""
    huggingface_hub.close_session()
    HfFileSystem.clear_instance_cache()


def _patch_hub(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = str(home / "hub")
    values = {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": cache,
        "HUGGINGFACE_HUB_CACHE": cache,
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "AGENT_HARNESSES_PATH": str(home / ".agent_harnesses.json"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
    # The functions of huggingface_hub's own top level are methods of this object.
    monkeypatch.setattr(hub_api.api, "endpoint", hub.endpoint)


def _patch_datasets(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = home / "datasets"
    values = {
        "HF_ENDPOINT": hub.endpoint,
        "HUB_DATASETS_URL": hub.endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}",
        "HF_CACHE_HOME": str(home),
        "HF_DATASETS_CACHE": cache,
        "HF_MODULES_CACHE": home / "modules",
        "DOWNLOADED_DATASETS_PATH": cache / "downloads",
        "EXTRACTED_DATASETS_PATH": cache / "downloads" / "extracted",
        "HF_HUB_OFFLINE": False,
        "HF_DATASETS_OFFLINE": False,
        # It would be asked of a host that is not the Hub.
        "HF_UPDATE_DOWNLOAD_COUNTS": False,
    }
    for name, value in values.items():
        monkeypatch.setattr(datasets.config, name, value)
