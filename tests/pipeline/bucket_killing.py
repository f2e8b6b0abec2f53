"""Builds in an object store that are killed at a request, before it is sent or after it is answered, and resumed.

Run as ``python -m tests.pipeline.bucket_killing BUCKET FOLDER SCENARIO:WHEN:STRIDE ...``; the variables of the store
are those of the environment. Prints how many moments were tried for each. It is a separate process because it forks,
which a process with threads should not do; the store is in another process.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiobotocore.endpoint
import s3fs  # noqa: F401 - imported once, before any fork

from datasetkit.core.paths import as_place
from datasetkit.export.output.accounts import accounts_path
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.buckets import Bucket
from tests.killing import forked
from tests.pipeline.builders import contents, make_image
from tests.pipeline.killing import source_of, warm_up

BESIDE = {".datasetkit/inputs.jsonl", ".datasetkit/build.json"}


def kill_at(moment: int, when: str) -> None:
    """Kill this process at its n-th request."""
    send, sent = aiobotocore.endpoint.AioEndpoint._send, itertools.count(1)

    async def counted(endpoint: Any, request: Any) -> Any:
        is_last = next(sent) == moment
        if is_last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(endpoint, request)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    aiobotocore.endpoint.AioEndpoint._send = counted


def published(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    return {name: data for name, data in bucket.contents(prefix).items() if name not in BESIDE}


def main(bucket: Bucket, folder: Path, name: str, when: str, stride: int) -> int:
    """Kill at every ``stride``-th request; return how many moments were tried."""
    recipe, base, reference, prefix = source_of(folder), folder / "base", folder / "expected", f"{folder.name}/out"
    out = as_place(bucket.address(prefix))
    how = {} if name == "fresh" else {name: True}

    def run(place: Any) -> object:
        return build(recipe, RunOptions(out=place, workers=2, **how))

    before: dict[str, bytes] = {}
    if name != "fresh":
        forked(lambda: build(recipe, RunOptions(out=base, workers=2)))
        before = contents(base)
        for number in (2, 4) if name == "retry_failed" else (0, 3):
            (folder / "images" / f"{number}.png").write_bytes(make_image(9 + number))
        shutil.copytree(base, reference)
        shutil.copy(accounts_path(base), accounts_path(reference))
    if forked(partial(run, reference)):
        raise SystemExit(f"{name}: the local build fails")
    expected = contents(reference)
    for tried in itertools.count():
        moment = 1 + tried * stride
        for key in bucket.contents(prefix):
            bucket.delete(f"{prefix}/{key}")
        if before:
            bucket.upload(base, prefix)
            bucket.write(f"{prefix}/.datasetkit/inputs.jsonl", accounts_path(base).read_bytes())
        status = forked(partial(run, out), partial(kill_at, moment, when))
        found = bucket.contents(prefix)
        if status not in {0, -signal.SIGKILL}:
            raise SystemExit(f"{name}, moment {moment}: the build ended by itself with status {status}")
        is_exchanged = any(key.endswith("/exchange.json") for key in found)
        now = {key: data for key, data in found.items() if not key.startswith((".build/", ".datasetkit/"))}
        if not is_exchanged and now not in (before, expected):
            raise SystemExit(f"{name}, moment {moment}: what was published is not whole: {sorted(now)}")
        if forked(partial(run, out)):
            raise SystemExit(f"{name}, moment {moment}: the second build fails")
        if published(bucket, prefix) != expected:
            differences = sorted({key for key, _ in published(bucket, prefix).items() ^ expected.items()})
            raise SystemExit(f"{name}, moment {moment}: {differences} differ from the local build")
        if status == 0:
            return tried
    raise AssertionError


def run_all(bucket: Bucket, place: Path, tasks: list[str], report: Callable[[str], object]) -> None:
    warm_up(place / "warm")
    for number, task in enumerate(tasks):
        name, when, stride = task.split(":")
        report(f"{task}: {main(bucket, place / str(number), name, when, int(stride))}\n")


if __name__ == "__main__":
    run_all(Bucket.of_environment(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:], sys.stdout.write)
