"""Builds that are killed: a program that forks a build, kills it at its n-th file operation, and resumes it.

Run as ``python -m tests.pipeline.killing FOLDER SCENARIO:SIGNAL:STRIDE ...``, stride 1 for every moment; prints how
many moments were tried for each. It is a separate process because it forks, which a process with threads should not do.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import datasetkit.export.card.describe
import datasetkit.pipeline.opening
from datasetkit.export.output.accounts import accounts_path
from datasetkit.export.output.folder import is_unfinished
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.killing import end_at, forked
from tests.pipeline.builders import caption, coco_recipe, contents, image_entry, instance, make_image, write_coco

SHARES = {"train": 0.5, "test": 0.5}
LOSING = "retry that would lose"


def source_of(folder: Path) -> Recipe:
    """Make six images in three parts and two splits; the third is missing, and the fifth is truncated."""
    options = write_coco(
        folder,
        [image_entry(n) for n in range(6)],
        [instance(10 + n, n % 7) for n in range(9)],
        [caption(20 + n, n) for n in range(6)],
        image_files={f"{n}.png": make_image(n) for n in (0, 1, 3, 5)} | {"4.png": make_image(4)[:300]},
    )
    return coco_recipe(options, part_size=2, splits=SHARES)


def scenario(
    name: str, folder: Path
) -> tuple[Callable[[Path], None], Callable[[Path], object], Callable[[Path], object]]:
    """Return what fills OUT before, the build that is killed, and the build that must end as if it had not been."""
    recipe = source_of(folder)
    base = folder / "base"

    def plain(out: Path) -> object:
        return build(recipe, RunOptions(out=out, workers=2))

    def update(out: Path) -> object:
        return build(recipe, RunOptions(out=out, workers=2, update=True))

    def nothing(out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        accounts_path(out).unlink(missing_ok=True)

    def built_before(out: Path) -> None:
        nothing(out)
        shutil.copytree(base, out)
        shutil.copy(accounts_path(base), accounts_path(out))

    if name == "fresh":
        return nothing, plain, plain
    if name == "overwrite":
        forked(lambda: build(recipe.model_copy(update={"limit": 3}), RunOptions(out=base, workers=2)))
        return (
            built_before,
            lambda out: build(recipe, RunOptions(out=out, workers=2, overwrite=True)),
            lambda out: build(recipe, RunOptions(out=out, workers=2, overwrite=True)),
        )
    if name == "overwrite with the same":
        forked(lambda: plain(base))
        return built_before, lambda out: build(recipe, RunOptions(out=out, workers=2, overwrite=True)), plain
    forked(lambda: plain(base))
    if name == "update":
        (folder / "images" / "0.png").write_bytes(make_image(9))
        return built_before, update, update
    (folder / "images" / "2.png").write_bytes(make_image(2))
    (folder / "images" / "4.png").write_bytes(make_image(4))
    if name == LOSING:
        (folder / "images" / "5.png").unlink()

    def retry(out: Path) -> object:
        return build(recipe, RunOptions(out=out, workers=2, retry_failed=True))

    return built_before, retry, retry


def warm_up(folder: Path) -> None:
    """Import once, before any fork, what every build would import again; skip the plots, which take longest."""
    recipe = source_of(folder)
    aligner = datasetkit.pipeline.opening.KnownObjectAligner(
        key_max=recipe.key_max, objects_known=recipe.source.has_objects
    )
    datasetkit.pipeline.opening.KnownObjectAligner = lambda *_, **__: aligner
    datasetkit.export.card.describe.write_plots = lambda *_: ()
    build(recipe, RunOptions(out=folder / "out", workers=2))


def main(folder: Path, name: str, how: signal.Signals, stride: int) -> int:
    """Kill at every ``stride``-th moment; return how many were tried."""
    prepare, killed, again = scenario(name, folder)
    out, reference = folder / "out", folder / "expected"
    prepare(reference)
    if forked(partial(again, reference)):
        raise SystemExit(f"{name}: the build fails without being killed")
    expected = contents(reference)
    before = contents(folder / "base") if (folder / "base").exists() else None
    fresh = folder / "fresh"
    if forked(
        lambda: build(coco_recipe(files_of(folder), part_size=2, splits=SHARES), RunOptions(out=fresh, workers=2))
    ):
        raise SystemExit(f"{name}: the fresh build fails")
    if contents(fresh) != expected and name != LOSING:
        raise SystemExit(f"{name} ends in other bytes than a fresh build")
    for tried in itertools.count():
        moment = 1 + tried * stride
        prepare(out)
        status = forked(partial(killed, out), partial(end_at, moment, how, out))
        if status == 0:
            return tried
        if status not in {-how, 130}:
            raise SystemExit(f"{name}, moment {moment}: the build ended by itself with status {status}")
        if before is not None and not is_unfinished(out):
            found = {name: data for name, data in contents(out).items() if not name.startswith(".build")}
            if found not in (before, expected):
                raise SystemExit(f"{name}, moment {moment}: what was published is not whole")
        if forked(partial(again, out)):
            raise SystemExit(f"{name}, moment {moment}: the second build fails")
        names = sorted({name for name, _ in contents(out).items() ^ expected.items()})
        if names or len(list(out.iterdir())) != len(list(reference.iterdir())):
            raise SystemExit(f"{name}, moment {moment}: {names or 'folders'} differ from an undisturbed build")
    raise AssertionError


def files_of(folder: Path) -> dict:
    return {"name": "coco", "images": folder / "images"} | {k: folder / f"{k}.json" for k in ("instances", "captions")}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    warm_up(place / "warm")
    for number, task in enumerate(sys.argv[2:]):
        named, ending, step = task.split(":")
        moments = main(place / str(number), named, signal.Signals[ending], int(step))
        sys.stdout.write(f"{task}: {moments}\n")
