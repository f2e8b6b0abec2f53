"""A fork server: a process that imports everything once, and forks a child for each run of the command line.

Run as ``python -m tests.forks.server``; it is a separate process because it forks, which no process with threads
should do. Reads one request per line from standard input, and writes one answer per line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

MEMORY_BYTES = 4 * 2**30
NOT_SOUND, UNCAUGHT = 90, 91


def main() -> None:
    """Serve until standard input ends."""
    _import_all()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(request)), file=answers, flush=True)


def _import_all() -> None:
    """Import what any command imports; threads of libraries would be lost in a child, so there are none."""
    import datasets  # noqa: F401
    import huggingface_hub
    import matplotlib.figure  # noqa: F401
    import pyarrow as pa
    import torch
    import transformers  # noqa: F401
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

    import tests.pipeline.builders  # noqa: F401

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    huggingface_hub.close_session()
    _use_once()


def _use_once() -> None:
    """Use everything that imports or initializes lazily."""
    import gc
    import io

    from matplotlib.figure import Figure
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from datasetkit.annotation.naming import KnownObjectNamer
    from datasetkit.runtime.checkpoints import resolve

    figure = Figure()
    figure.subplots().plot([0, 1], label="x")
    figure.legend()
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
    model = resolve("toyworld:vlm")
    AutoProcessor.from_pretrained(model)
    AutoModelForImageTextToText.from_pretrained(model)
    KnownObjectNamer(["cat"]).name("A red cat sits on the mat.", ())
    gc.collect()
    gc.freeze()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one request in a child; kill it if it takes too long."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        _run(request)
    handle = os.pidfd_open(child)
    try:
        is_ended = bool(select.select([handle], [], [], request["timeout_s"])[0])
    finally:
        os.close(handle)
    if not is_ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"returncode": code, "is_hung": not is_ended, "seconds": time.monotonic() - began}


def _run(request: dict[str, Any]) -> NoReturn:
    """Run the command in the child, and exit without the exit handlers of the parent."""
    code = UNCAUGHT
    try:
        folder = Path(request["output"])
        for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            handle = os.open(folder / name if number else name, flags, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
        _renew_threads()
        os.chdir(request["cwd"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _keep_caches_in(folder / "cache")
        code = run(**{name: value for name, value in request.items() if name not in {"cwd", "output", "timeout_s"}})
    except BaseException:  # noqa: BLE001 - whatever comes out of the command line is what is looked for
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def run(arguments: list[str], *, path: Sequence[str] = (), version: str | None = None, built: str | None = None) -> int:
    """Run a command, and return its exit code.

    Args:
        arguments: arguments of ``datasetkit``.
        path: folders to import from, before all others.
        version: version of datasetkit that it runs as.
        built: output folder of the command, whose counts must be correct, and whose dataset must be sound.

    """
    sys.path[:0] = path
    if version is not None:
        _pretend(version)
    code = _command(arguments)
    return _check_built(built) if code == 0 and built is not None else code


def _command(arguments: list[str]) -> int:
    from datasetkit.cli import app

    sys.argv = ["datasetkit", *arguments]
    try:
        app(prog_name="datasetkit")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _renew_threads() -> None:
    """Replace torch's pool of threads, which forks lack, by one thread: several would create it at once, and fail."""
    import torch

    torch.set_num_threads(1)


def _keep_caches_in(folder: Path) -> None:
    """Clear caches, so that runs do not affect each other."""
    import datasets.config
    from huggingface_hub import constants

    datasets.config.HF_DATASETS_CACHE = folder
    datasets.config.DOWNLOADED_DATASETS_PATH = folder / "downloads"
    datasets.config.EXTRACTED_DATASETS_PATH = folder / "downloads" / "extracted"
    constants.HF_HUB_CACHE = constants.HUGGINGFACE_HUB_CACHE = str(folder / "hub")
    os.environ["TMPDIR"] = str(folder)


def _pretend(version: str) -> None:
    """Pretend that no published byte has changed since a version, so that its results can be resumed."""
    import datasetkit.hi_scoring.model.subject
    import datasetkit.pipeline.build

    for module in (datasetkit, datasetkit.pipeline.build, datasetkit.hi_scoring.model.subject):
        module.__version__ = version
    datasetkit.pipeline.build.SCHEMA_VERSION = "1.0"


def _check_built(out: str) -> int:
    """Compare the counts of a build with its rows, and verify it."""
    from tests.pipeline.builders import check_account

    try:
        check_account(Path(out))
    except AssertionError:
        traceback.print_exc()
        return NOT_SOUND
    with contextlib.redirect_stdout(sys.stderr):
        return NOT_SOUND if _command(["verify", out]) else 0


if __name__ == "__main__":
    main()
