"""The border of the command line: any exception, signal or shortage ends in one line and the right exit code."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pyarrow as pa
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.cli.border import StdoutError, ending_of
from datasetkit.cli.signals import Stop
from datasetkit.core.errors import OutputError, SourceFailedError
from datasetkit.core.files import replace_file, whole_file
from datasetkit.core.text import first_line, without_secrets
from tests.processes import output_of

RUN = CliRunner()
FULL = OSError(errno.ENOSPC, "No space left on device")
MEMORY = "memory ran out; give the command more memory, or use smaller batches"
BUILD = ("build", "toyworld", "--preset", "none", "--size-px", "64")
# A point is printed once the command listens: what comes before is Python's own start. A shell has its jobs in the
# background ignore Ctrl-C, and everything that these start inherits that.
LISTENS = """
import os, signal
signal.signal(signal.SIGINT, {})
from datasetkit.cli import leave_at_once, main
leave_at_once()
os.write(1, b".")
main()
"""


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (OutputError("two\nlines"), "two lines", 1),
        (
            SourceFailedError("gone", "run it"),
            "gone; finished parts are kept; when the source answers again, run it",
            3,
        ),
        (click.UsageError("No such option '--x'."), "No such option '--x'", 2),
        (OSError(errno.ENOSPC, "No space left", "out/a"), "out/a: no space is left on the disk", 1),
        (FULL, "no space is left on the disk", 1),
        (OSError(errno.EIO, "the store\nanswers 500", "s3://a/b"), "s3://a/b: the store answers 500", 1),
        (PermissionError(errno.EACCES, "Permission denied", b"out"), "out: Permission denied", 1),
        (MemoryError(), MEMORY, 1),
        (pa.ArrowMemoryError("malloc of size 64 failed"), MEMORY, 1),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), MEMORY, 1),
        (ImportError("libx.so: failed to map segment from shared object"), MEMORY, 1),
        (RecursionError("maximum depth"), "the input is nested too deeply; --debug shows where", 1),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), "'\\udcff' cannot be encoded as UTF-8; rename it", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (click.Abort(), "interrupted", 130),
        (StdoutError(BrokenPipeError(errno.EPIPE, "Broken pipe")), "", 141),
        (StdoutError(FULL), "stdout cannot be written: no space is left on the disk", 1),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_exception_is_one_line(error: BaseException, message: str, code: int) -> None:
    ending = ending_of(error)
    assert (ending.message, ending.code) == (message, code)


class OddError(Exception):
    def __str__(self) -> str:
        raise ValueError("a\nb")


@pytest.mark.parametrize("reported", ["ValueError: a b", "OddError: without a message"])
def test_an_error_that_nobody_knows_says_where_it_came_from(reported: str) -> None:
    with pytest.raises(ValueError, match="a\nb") as caught:
        first_line(OddError())
    error = caught.value if reported.startswith("Value") else OddError().with_traceback(caught.tb)
    message = ending_of(error).message
    assert message.startswith(f"unexpected {reported} in datasetkit.core.text:")
    assert message.endswith("; --debug shows the traceback; please report it")


def test_after_a_signal_every_error_is_its_work() -> None:
    stop = Stop()
    stop.kept = "; all is kept"
    assert ending_of(ValueError("a"), stop).code == 1
    stop.by = signal.SIGTERM
    assert ending_of(ValueError("a"), stop).message == "terminated; all is kept"
    assert ending_of(ValueError("a"), stop).code == 143


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf_abcdefghijkl is wrong", "hf_*** is wrong"),
        ("s3://me:secret@host/a is gone", "s3://***@host/a is gone"),
        ("Authorization: Bearer abcdefgh123", "Authorization: Bearer ***"),
        ("https://h/a?X-Amz-Signature=12ab&b=1", "https://h/a?X-Amz-Signature=***&b=1"),
        ("https://h/a?sig=12ab", "https://h/a?sig=***"),
        ("the key is wJalrXUtnFEMI", "the key is ***"),
        (
            "a token of 3 parts; tokens: 5; 10:30 is no time@home",
            "a token of 3 parts; tokens: 5; 10:30 is no time@home",
        ),
    ],
)
def test_secrets_are_in_no_line(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    assert without_secrets(text) == shown
    assert ending_of(OutputError(text)).message == shown


def test_a_file_is_whole_or_the_former(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"former")

    def write(error: Exception) -> None:
        with whole_file(path) as partial:
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(ZeroDivisionError):
        write(ZeroDivisionError())
    with pytest.raises(OSError, match="No space") as caught:
        write(OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "source: " + "[" * 5000, "source: {count: 1" + "0" * 5000 + "}", "a: \0"]
)
def test_a_recipe_without_end_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    done = RUN.invoke(app, ["build", "recipe", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path}/recipe.yaml is not YAML: line 1")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no device that is full")
def test_a_stdout_that_is_full_or_closed(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "datasetkit", "--help"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: stdout cannot be written: no space is left on the disk\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def stopped(how: signal.Signals, delay_s: float, *words: object, handler: str = "SIG_DFL") -> tuple[int, str, str]:
    """Send a signal to a command after a delay; return its exit code and output."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENS.format(f"signal.{handler}"), *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == "."
    time.sleep(delay_s)
    process.send_signal(how)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


@pytest.mark.slow
def test_ctrl_c_while_python_imports(tmp_path: Path) -> None:
    """At every 20 ms of the first 1.5 s with DATASETKIT_STEP_S=0.02; here at fewer."""
    step = float(os.environ.get("DATASETKIT_STEP_S", "0.25"))
    for moment in range(round(1.5 / step)):
        out = tmp_path / str(moment)
        code, _, errors = stopped(signal.SIGINT, moment * step, *BUILD, "--count", 400, "--part-size", 4, "--out", out)
        assert code == 130, errors
        assert errors.startswith("interrupted")
        assert errors.count("\n") == 1


@pytest.mark.slow
def test_sigterm_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    words = (*BUILD, "--count", 400, "--part-size", 4, "--out", tmp_path / "out", "--json")
    code, out, errors = stopped(signal.SIGTERM, 2.0, *words, handler="SIG_IGN")
    assert code == 143
    assert errors.startswith("terminated")
    assert json.loads(out)["error"] == errors.rstrip("\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit a process's memory")
def test_without_memory_a_command_ends(tmp_path: Path) -> None:
    """Which library fails first is random; some end the process, unseen by Python, as Arrow's writer does."""
    most = int(float(os.environ.get("DATASETKIT_MOST_GIB", "0.45")) * 2**30)
    done = subprocess.run(
        [sys.executable, "-m", "datasetkit", *BUILD, "--count", "4", "--out", str(tmp_path / "out"), "--quiet"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, 1, -signal.SIGABRT, -signal.SIGSEGV}, done.stderr
    assert (tmp_path / "out/manifest.json").exists() == (done.returncode == 0)
    assert "Traceback" not in done.stderr
    assert done.returncode != 1 or done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
def test_nothing_is_half_written_whenever_a_command_ends(tmp_path: Path) -> None:
    """More moments, and others, with DATASETKIT_KILLS=100 DATASETKIT_KILLS_SEED=1."""
    count, seed = (
        os.environ.get(name, default) for name, default in (("DATASETKIT_KILLS", "10"), ("DATASETKIT_KILLS_SEED", "0"))
    )
    reported = output_of("tests.cli.killing", tmp_path, count, seed)
    ended = [line.rpartition(" ") for line in reported.splitlines()]
    assert sum(int(times) for _, _, times in ended) == int(count) + 2 * 6
    assert sum(int(times) for how, _, times in ended if how.endswith("full disk")) == 2 * 6
