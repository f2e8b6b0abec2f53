"""Cases, one per seed: a command, a file that it reads, a change to it. Owns how they run, and what a fault is."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from tests.forks import TIMEOUT_S, Ended, ForkServer
from tests.forks.server import NOT_SOUND
from tests.fuzz.mutations import copied, spoil
from tests.fuzz.scenarios import HUB, SCENARIOS, Scenario
from tests.fuzz.stock import make
from tests.hub.server import HubServer

_LAST_EXIT_CODE = 3
_NO_MESSAGES = ("error: unexpected", "error: memory ran out", "error: the input is nested")
_LONGEST_TOLD = 3000


@dataclass(frozen=True)
class Failure:
    """Behaviour of a case that is forbidden for commands."""

    seed: int
    command: str
    change: str
    faults: tuple[str, ...]
    reported: str
    again: str

    def __str__(self) -> str:
        again = f"to repeat: {self.again}"
        return "\n".join(
            (
                f"case {self.seed}: {self.command}",
                f"  {self.change}",
                *(f"  ! {fault}" for fault in self.faults),
                self.reported,
                again,
            )
        )


class Fuzzer:
    """A fork server, a Hub and a stock of inputs; used as a context."""

    def __init__(self, *, only: str = "", keep: Path | None = None) -> None:
        self._only = only
        self._scenarios = [one for one in SCENARIOS if only in one.name]
        self._keep = keep
        self.seconds: dict[str, list[float]] = {}
        self.codes: dict[int, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            self._hub = stack.enter_context(HubServer())
            self._server = stack.enter_context(ForkServer(self._hub.environment(self._folder / "home")))
            self._stock = self._folder / "stock" / "in"
            self._stock.mkdir(parents=True)
            make(self._stock, self._prepare)
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, seeds: Iterable[int]) -> Iterator[Failure]:
        """Run cases in sequence; yield those that fail."""
        for seed in seeds:
            if (failure := self._run(seed)) is not None:
                yield failure

    def _run(self, seed: int) -> Failure | None:
        rng = random.Random(seed)
        [scenario] = rng.choices(self._scenarios, [one.weight for one in self._scenarios])
        folder = Path(tempfile.mkdtemp(prefix=f"{seed}-", dir=self._folder)) if self._keep is None else self._keep
        inputs = folder / "in"
        inputs.mkdir(parents=True)
        (folder / "cache").mkdir()
        for name in scenario.inputs:
            copied(self._stock / name, inputs)
        files = _files(inputs, scenario.spoilt)
        change = spoil(inputs, files, rng)
        repository = f"user/case-{seed}"
        if scenario.is_published:
            self._publish(repository, inputs / scenario.inputs[0])
        before = _contents(inputs, scenario.kept)
        command = [repository if word == HUB else word for word in scenario.command]
        ended = self._server.run(command, inputs, folder, version=scenario.version, built=scenario.builds)
        self.seconds.setdefault(scenario.name, []).append(ended.seconds)
        self.codes[ended.returncode] = self.codes.get(ended.returncode, 0) + 1
        faults = list(_faults(scenario, ended))
        if ended.returncode and before != _contents(inputs, scenario.kept):
            faults.append(f"it failed, and {', '.join(scenario.kept)} is not as it was")
        if self._keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        if not faults:
            return None
        again = f"python -m tests.fuzz {seed}" + (f" --only {shlex.quote(self._only)}" if self._only else "")
        reported = f"--- stdout\n{ended.stdout[-_LONGEST_TOLD:]}\n--- stderr\n{ended.stderr[-_LONGEST_TOLD:]}"
        return Failure(seed, f"{scenario.name}: datasetkit {' '.join(command)}", change, tuple(faults), reported, again)

    def _prepare(self, *command: str) -> None:
        """Run a command on the stock itself."""
        folder = self._stock.parent
        (folder / "cache").mkdir(exist_ok=True)
        ended = self._server.run(command, self._stock, folder)
        if ended.returncode:
            raise RuntimeError(f"{command}: {ended}")

    def _publish(self, repository: str, folder: Path) -> None:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self._hub.create(repository).write(files)


def _files(folder: Path, patterns: tuple[str, ...] | None) -> list[str]:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    found = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns or ("*",))]
    if not found:
        raise RuntimeError(f"no file of {patterns} is there")
    return found


def _contents(folder: Path, kept: Iterable[str]) -> dict[str, bytes | str | None]:
    """Return contents of some paths by name: None for a folder, and the target of a link."""
    found: dict[str, bytes | str | None] = {}
    for name in kept:
        for path in (folder / name, *(folder / name).rglob("*")):
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = path.read_bytes()
    return found


def _faults(scenario: Scenario, ended: Ended) -> Iterator[str]:
    code, stdout, stderr = ended.returncode, ended.stdout, ended.stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    if ended.is_hung:
        yield f"it did not end in {TIMEOUT_S} s"
        return
    if code == NOT_SOUND:
        yield "the build is not sound"
        return
    if not 0 <= code <= _LAST_EXIT_CODE:
        yield f"it ended with {code}"
    if "Traceback (most recent call last)" in stderr + stdout:
        yield "it shows a traceback"
    if code and not {"verify", "check", "doctor"} & {*scenario.command} and not errors:
        yield "it failed without a message"
    if code and {"verify", "check"} & {*scenario.command} and not errors and not stdout.strip():
        yield "it failed without a message"
    if not code and errors:
        yield "it ended well, but told an error"
    if len(errors) > 1 or (errors and not stderr.splitlines()[-1].startswith("error: ")):
        yield "its error is not one line, at the end"
    if any(line.startswith(_NO_MESSAGES) for line in errors):
        yield "its error has no message of its own"
    if "--json" in scenario.command:
        yield from _json_faults(stdout, is_failure=bool(errors))


def _json_faults(stdout: str, *, is_failure: bool) -> Iterator[str]:
    try:
        shown = json.loads(stdout)
    except ValueError:
        yield "stdout is not one JSON object"
        return
    if is_failure != ("error" in shown):
        yield "stdout and exit code do not agree"
    for counts in shown.get("tally", {}).values() if not is_failure else ():
        if "read" in counts and counts["read"] != counts["kept"] + sum(counts["dropped"].values()):
            yield f"kept and dropped are not what was read: {counts}"
