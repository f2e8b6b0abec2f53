"""Commands that are killed at random moments, or run out of disk space: no partial files, and they resume.

Run as ``python -m tests.cli.killing FOLDER COUNT SEED``; prints how commands of each kind ended. It runs as
a separate process because it forks, which no process with threads should do.
"""

from __future__ import annotations

import gc
import io
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from datasetkit.cli import app, main
from datasetkit.export.card import describe
from datasetkit.export.output.accounts import accounts_path
from datasetkit.export.output.folder import is_unfinished
from datasetkit.export.output.work_log import work_log_path
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from tests.pipeline.builders import contents

BUILD = ("build", "toyworld", "--preset", "none", "--size-px", "64", "--part-size", "2", "--quiet")
ENDED_BY = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted"), signal.SIGHUP: (129, "hung up")}
ROOM = (0, 3000)
Tree = dict[str, bytes]


@dataclass(frozen=True)
class Scene:
    """A command, and the one that left what was there before it, both writing to one place.

    Args:
        before: words of the former command; () where nothing was there.
        words: of the command.
        place: what both write, a file or a folder.

    """

    before: tuple[str, ...]
    words: tuple[str, ...]
    place: Path


def scenes(folder: Path) -> dict[str, Scene]:
    built, out = str(folder / "built"), folder / "work" / "out"
    page, export = out.with_name("page.html"), out.with_name("export")
    small, large = (*BUILD, "--count", "4", "--out", str(out)), (*BUILD, "--count", "12", "--out", str(out))
    return {
        "build": Scene((), large, out),
        "replacement": Scene(small, (*large, "--overwrite"), out),
        "preview": Scene(
            ("preview", built, "--limit", "2", "--out", str(page)), ("preview", built, "--out", str(page)), page
        ),
        "card": Scene(small, ("card", str(out)), out),
        "stats": Scene(small, ("stats", str(out)), out),
        "export": Scene(
            ("export", built, str(export), "--to", "imagefolder", "--quiet"),
            ("export", built, str(export), "--to", "coco", "--overwrite", "--quiet"),
            export,
        ),
    }


def tree(place: Path) -> Tree:
    """What is there, without what a build that goes on keeps to itself."""
    if place.is_file():
        return {"": place.read_bytes()}
    found = contents(place) if place.exists() else {}
    return {
        name: data for name, data in found.items() if not name.startswith(".build") and not name.endswith(".partial")
    }


@dataclass(frozen=True)
class Child:
    """A command in a process of its own, forked from this one."""

    pid: int
    stderr: int

    @classmethod
    def of(cls, words: tuple[str, ...], room: int = resource.RLIM_INFINITY) -> Child:
        """Start a command, whose files may have so many bytes."""
        reading, writing = os.pipe()
        if pid := os.fork():
            os.close(writing)
            return cls(pid, reading)
        os.dup2(writing, 2)
        sys.stdout, sys.stderr = io.StringIO(), os.fdopen(2, "w", buffering=1)
        for one in ENDED_BY:  # a shell has its jobs in the background ignore some
            signal.signal(one, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        sys.argv = ["datasetkit", *words]
        try:
            main()
        except SystemExit as end:
            os._exit(int(end.code or 0))
        except BaseException:  # noqa: BLE001 - nothing leaves the child
            sys.excepthook(*sys.exc_info())
        os._exit(99)

    def ended(self) -> tuple[int, str]:
        """Wait; return the exit code, negative for a signal, and what was on stderr."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with os.fdopen(self.stderr) as reported:
            return code, reported.read()


def prepare(scene: Scene, former: Path | None) -> None:
    """Put in place what was there before."""
    shutil.rmtree(scene.place.parent, ignore_errors=True)
    if former is None:
        scene.place.parent.mkdir(parents=True)
    else:
        shutil.copytree(former, scene.place.parent)


class Disturbed:
    """One scene, as it is before and after."""

    def __init__(self, name: str, scene: Scene, folder: Path) -> None:
        self.name, self.scene = name, scene
        self.former: Path | None = None
        prepare(scene, None)
        if scene.before:
            self.succeed(scene.before)
            self.former = folder / f"former {name}"
            shutil.copytree(scene.place.parent, self.former)
        self.before = tree(scene.place)
        began = time.monotonic()
        self.succeed(scene.words)
        self.seconds = time.monotonic() - began
        self.after = tree(scene.place)

    def succeed(self, words: tuple[str, ...]) -> None:
        code, reported = Child.of(words).ended()
        if code:
            raise SystemExit(f"{self.name}: exit code {code} of {words}: {reported}")

    def end_by(self, how: signal.Signals, delay: float) -> str:
        """Send a signal; return how the command ended."""
        prepare(self.scene, self.former)
        child = Child.of(self.scene.words)
        time.sleep(delay)
        os.kill(child.pid, how)
        code, reported = child.ended()
        what = f"{how.name} after {delay:.3f} s"
        expected, word = ENDED_BY.get(how, (-how, ""))
        if code != 0 and not (code == expected and reported.startswith(word) and reported.count("\n") == bool(word)):
            raise SystemExit(f"{self.name}, {what}: exit code {code}: {reported}")
        self.check(what)
        return "done" if code == 0 else how.name

    def fill_disk(self, room: int) -> str:
        """Let no file be larger than so many bytes; return how the command ended."""
        prepare(self.scene, self.former)
        code, reported = Child.of(self.scene.words, room).ended()
        is_reported = (
            reported.startswith("error: ") and reported.count("\n") == 1 and str(self.scene.place.parent) in reported
        )
        if code != 0 and not (code == 1 and is_reported):
            raise SystemExit(f"{self.name}, files of {room} bytes: exit code {code}: {reported}")
        if left := [path for path in self.scene.place.parent.rglob("*.partial") if ".build" not in path.parts]:
            raise SystemExit(f"{self.name}, files of {room} bytes: {left[0]} is left")
        self.check(f"files of {room} bytes", goes_on=False)
        return "done" if code == 0 else "full disk"

    def check(self, what: str, *, goes_on: bool = True) -> None:
        """What was there is whole, or what comes is; the same command then ends as if nothing had been."""
        place = self.scene.place
        if not (self.name in {"build", "replacement"} and is_unfinished(place)):
            found = tree(place)
            if not self.is_whole(found):
                raise SystemExit(f"{self.name}, {what}: neither the former nor the new is whole")
            if found and place.name == "out" and (faults := list(verify_files(FolderFiles(place)))):
                raise SystemExit(f"{self.name}, {what}: {faults[0]}")
        if not goes_on:
            return
        self.succeed(self.scene.words)
        if tree(place) != self.after:
            raise SystemExit(f"{self.name}, {what}: the second time ends in other bytes")
        ours = {place.name, accounts_path(place).name, work_log_path(place).name}
        if others := {path.name for path in place.parent.iterdir()} - ours:
            raise SystemExit(f"{self.name}, {what}: {others} is left")

    def is_whole(self, found: Tree) -> bool:
        """Whether all files are the former or the new ones; each by itself, where a command writes several."""
        if self.name in {"card", "stats"}:
            return all(data in (self.before.get(name), self.after.get(name)) for name, data in found.items())
        return found in (self.before, self.after) or (self.name == "export" and not found)


def run(folder: Path, count: int, seed: int) -> Counter[str]:
    """End so many commands at random moments, then let each kind have no room; count how they ended."""
    chance = random.Random(seed)
    every = [Disturbed(name, scene, folder) for name, scene in scenes(folder).items()]
    found: Counter[str] = Counter()
    for number in range(count):
        one = every[number % len(every)]
        how = chance.choice((signal.SIGKILL, signal.SIGKILL, *ENDED_BY))
        found[f"{one.name}: {one.end_by(how, chance.uniform(0, one.seconds))}"] += 1
    for one in every:
        for room in ROOM:
            found[f"{one.name}: {one.fill_disk(room)}"] += 1
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    describe.write_plots = lambda *_: ()  # most of the time of a build; `stats` draws them
    words = (*BUILD, "--count", "6", "--out", str(place / "built"))
    app.main([*words], standalone_mode=False)
    for warm in (("stats",), ("preview",), ("card",)):  # whatever is imported once is not imported in every child
        app.main([*warm, str(place / "built"), "--quiet"], standalone_mode=False)
    gc.freeze()
    for line, times in sorted(run(place, int(sys.argv[2]), int(sys.argv[3])).items()):
        sys.stdout.write(f"{line} {times}\n")
