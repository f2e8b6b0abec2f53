"""Speed of a push, from a built folder to a verified commit, to the Hub of the tests on loopback.

    python -m benchmarks.push [--shards 8] [--shard-mb 32] [--rounds 5]

It is compared, alternating within every round, with a plain ``upload_folder`` of the same files by the same client.
Both use plain LFS, five files at a time, and a new repository; a push also checks every shard against the manifest and
reads back the contents of the Hub. The server runs in a separate process. The median ratio over rounds must be at least
0.8.
"""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}

import argparse
import multiprocessing
import multiprocessing.connection
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub

from datasetkit import __version__
from datasetkit.core.files import file_sha256
from datasetkit.core.ledger import Tally
from datasetkit.core.schema import SCHEMA_VERSION
from datasetkit.export.dataset.manifest import (
    CARD_NAME,
    LEDGER_NAME,
    RECIPE_NAME,
    STATISTICS_NAME,
    Manifest,
    Part,
    Shard,
    shard_path,
)
from datasetkit.export.publish.hub.push import push
from tests.hub.server import HubServer

PART_BYTES = 16 * 2**20
MIN_RATIO = 0.8


def make_folder(folder: Path, shards: int, shard_bytes: int) -> int:
    """Write a folder that a push accepts as built, with shards of noise; return its size in bytes."""
    (folder / "data").mkdir(parents=True)
    listed = []
    for index in range(shards):
        name = shard_path("train", index, shards)
        (folder / name).write_bytes(os.urandom(shard_bytes))
        listed.append(Shard(name, "train", 1, shard_bytes, file_sha256(folder / name)))
    (folder / CARD_NAME).write_text("---\nlicense: cc0-1.0\n---\n", encoding="utf-8")
    for name in (LEDGER_NAME, RECIPE_NAME, STATISTICS_NAME):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    Manifest(SCHEMA_VERSION, __version__, "0" * 64, {}, (Part(0, tuple(listed), Tally()),), Tally()).write(folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def serve(folder: Path, pipe: multiprocessing.connection.Connection) -> None:
    """Run a Hub until the other end of the pipe says so."""
    with HubServer(folder=folder, part_bytes=PART_BYTES) as hub:
        pipe.send((hub.endpoint, hub.token))
        pipe.recv()


@contextmanager
def hub_process(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a Hub in another process; yield its URL and a token."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(folder, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def upload(folder: Path, name: str, endpoint: str, token: str) -> None:
    """Upload a folder with huggingface_hub only."""
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    api.create_repo(name, repo_type="dataset")
    api.upload_folder(repo_id=name, folder_path=folder, repo_type="dataset")


def seconds(action: Callable[[str], object], name: str) -> float:
    """Return the time of an action, after pending writes are flushed."""
    os.sync()
    start = time.perf_counter()
    action(name)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--shard-mb", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        folder = Path(place) / "folder"
        size = make_folder(folder, options.shards, options.shard_mb * 10**6)
        with hub_process(Path(place) / "hub") as (endpoint, token):
            actions: dict[str, Callable[[str], object]] = {
                "push": lambda name: push(folder, name, endpoint=endpoint, token=token),
                "upload_folder": lambda name: upload(folder, name, endpoint, token),
            }
            results = []
            for number in range(options.rounds):
                names = list(actions) if number % 2 else list(actions)[::-1]
                results.append({name: seconds(actions[name], f"user/{name}-{number}") for name in names})
    for name in actions:
        print(f"{name:14} {size / statistics.median(result[name] for result in results) / 1e6:6,.0f} MB/s")
    ratios = sorted(result["upload_folder"] / result["push"] for result in results)
    median = statistics.median(ratios)
    verdict = "reached" if median >= MIN_RATIO else "MISSED"
    span = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"push compared with upload_folder: {median:.2f} ({span}), at least {MIN_RATIO}: {verdict}")
    sys.exit(0 if median >= MIN_RATIO else 1)


if __name__ == "__main__":
    main()
