from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfApi

from tests.hub.server import HubServer

pytestmark = pytest.mark.slow


@pytest.fixture
def pushed(hub: HubServer) -> str:
    Dataset.from_dict({"a": [1, 2, 3]}).push_to_hub("user/name")
    Dataset.from_dict({"b": ["x"]}).push_to_hub("user/name", "second", split="test")
    return "user/name"


def test_what_is_pushed_is_loaded(hub: HubServer, pushed: str) -> None:
    assert load_dataset(pushed, split="train")["a"][:] == [1, 2, 3]
    assert load_dataset(pushed, "second")["test"]["b"][:] == ["x"]
    assert set(hub.repository(pushed).files()) == {
        ".gitattributes",
        "README.md",
        "data/train-00000-of-00001.parquet",
        "second/test-00000-of-00001.parquet",
    }


def test_it_is_streamed_in_ranges(hub: HubServer, pushed: str) -> None:
    hub.traffic.clear()
    assert [row["a"] for row in load_dataset(pushed, split="train", streaming=True)] == [1, 2, 3]
    answers = [request.status for request in hub.traffic.requests if request.url.endswith(".parquet")]
    assert 206 in answers
    assert 200 not in answers


def test_a_revision_is_loaded_as_it_was(hub: HubServer, pushed: str) -> None:
    HfApi().create_tag(pushed, tag="v1", repo_type="dataset")
    Dataset.from_dict({"a": [4]}).push_to_hub(pushed)
    assert load_dataset(pushed, split="train", revision="v1")["a"][:] == [1, 2, 3]
    assert load_dataset(pushed, split="train")["a"][:] == [4]


def test_strangers_load_what_is_public_alone(hub: HubServer, pushed: str) -> None:
    assert load_dataset(pushed, split="train", token="hf_stranger").num_rows == 3
    Dataset.from_dict({"a": [1]}).push_to_hub("user/secret", private=True)
    # In this order: what was loaded once is loaded again from disk, whoever asks.
    with pytest.raises(DatasetNotFoundError):
        load_dataset("user/secret", split="train", token="hf_stranger")
    assert load_dataset("user/secret", split="train").num_rows == 1


def test_a_process_of_its_own_loads_it(hub: HubServer, pushed: str, tmp_path: Path) -> None:
    code = f"import json, datasets; print(json.dumps(datasets.load_dataset({pushed!r}, split='train')['a'][:]))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=hub.environment(tmp_path / "home"), capture_output=True, check=True
    )
    assert json.loads(run.stdout) == [1, 2, 3]
    assert (tmp_path / "home" / "datasets").is_dir()
