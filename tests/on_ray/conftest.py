"""Ray clusters of two machines on loopback. They leave nothing in the home folder, and end with the tests."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# Here, since Ray reads them when it is imported.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

_RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
_GPUS = 2
_START_S = 120


@pytest.fixture(scope="session", autouse=True)
def ray_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Variables of all drivers and clusters; yields the home folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]))
        yield home


@pytest.fixture(scope="session")
def cluster(ray_environment: Path) -> Iterator[str]:
    """Address of a cluster of two machines with one processor each; the second one claims to have GPUs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # In the folder for temporary files itself: names of sockets must be short.
    folder = tempfile.mkdtemp(prefix="ray-")
    port = address.rpartition(":")[2]
    try:
        with ExitStack() as machines:
            head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
            machines.enter_context(_machine(*head))
            _wait_for(address, 1)
            machines.enter_context(_machine(f"--address={address}", f"--num-gpus={_GPUS}"))
            _wait_for(address, 2)
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _machine(*options: str) -> Iterator[None]:
    command = [sys.executable, "-c", _RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as machine:
        try:
            yield
        finally:
            machine.terminate()


def _wait_for(address: str, machines: int) -> None:
    """Wait until a cluster has so many machines."""
    import ray

    end = time.monotonic() + _START_S
    while True:
        assert time.monotonic() < end, "the cluster does not start"
        try:
            socket.create_connection((address.partition(":")[0], int(address.partition(":")[2]))).close()
            break
        except OSError:
            time.sleep(0.2)
    ray.init(address, log_to_driver=False)
    while len([node for node in ray.nodes() if node["Alive"]]) < machines:
        assert time.monotonic() < end, "a machine of the cluster does not start"
        time.sleep(0.2)
    ray.shutdown()
