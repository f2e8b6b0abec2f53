"""Fixtures that several test packages share."""

from __future__ import annotations

import gc
import importlib.util
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.buckets import Bucket, ObjectStore
    from tests.hub.server import HubServer

# How long an example takes says something of the machine, nothing of the code.
# On CI the examples are the same in every run: new ones are looked for where somebody can look into them.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
REPOSITORY = Path(__file__).resolve().parent.parent


# The published torchvision wheel expects to find these beside a CPU build of torch. Here, not in a hook, since the
# conftest files of deeper folders are imported before the first hook runs.
if importlib.util.find_spec("torchvision"):
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Models as small as those of tests are slower on several threads, and much slower where the cores are busy.

    OMP_NUM_THREADS asks for more, to see that what tests compare does not depend on it.
    """
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Tiny models and all that is computed with them in float64, where two ways to compute the same agree closely."""
    from tests.precision import double_precision

    with double_precision():
        yield


@pytest.fixture(scope="module", autouse=True)
def imports_frozen() -> None:
    """What torch and its kin leave in memory is never garbage, and to look through it takes a second each time.

    Trainings and batches that do not fit collect garbage many times; only what a module's tests make is looked through.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    folder = Path(os.environ.get("DATASETKIT_COCO_MINI", REPOSITORY.parent / "shared" / "coco_mini"))
    if not (folder / "annotations").is_dir():
        pytest.skip(f"coco_mini is not at {folder}; set DATASETKIT_COCO_MINI to its folder")
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose plots are one pixel each: what stands around them takes no seconds then."""
    undraw(monkeypatch)


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Put a pixel in place of every plot of a page."""
    from datasetkit.hi_scoring.comparison.report import figures as of_comparisons
    from datasetkit.hi_scoring.joined import figures as of_joined_results
    from datasetkit.hi_scoring.scores.report import figures as of_scores

    for figures in (of_scores, of_comparisons, of_joined_results):
        patch.setattr(figures, "png", lambda _: PIXEL)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub of our own that huggingface_hub and datasets of this process talk to, as the user "user"."""
    from tests.hub.clients import forget, talk_to
    from tests.hub.server import HubServer

    with HubServer(tokens={"hf_test": "user", "hf_stranger": "stranger"}) as server:
        talk_to(server, tmp_path / "hf_home", monkeypatch)
        yield server
        forget()


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An S3 of our own."""
    from tests.buckets import ObjectStore

    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket in an S3 of our own that this process talks to."""
    from tests.buckets import Bucket

    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return Bucket.create(object_store, f"bucket-{uuid.uuid4().hex}")
