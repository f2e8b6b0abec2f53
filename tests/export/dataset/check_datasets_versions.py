"""Load a built dataset with old and new versions of `datasets`, each in a separate environment, and compare.

    python -m tests.export.dataset.check_datasets_versions [FOLDER] [--keep ENVIRONMENTS]

Run it from the repository's root with datasetkit installed; pip must reach a package index. FOLDER is what a build
wrote; without it a small one is rendered. Each version loads it from the folder (whole, streamed, and its shards
without the card) and, pushed to a Hub on loopback, by its name there. Rows, image bytes, pixels, masks as pycocotools
decodes them and phrases' spans are compared with what the newest version loads from the folder. Prints one line per
version; exit code 1 if anything differs. `--keep` keeps the environments in that folder for later runs.
"""
# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hub.server import HubServer

_NAME = "user/scenes"
_READER = Path(__file__).with_name("dataset_digest.py")
_PACKAGES = ("datasets", "huggingface_hub", "pyarrow", "pandas", "numpy", "fsspec")
# The newest comes first: the others are compared with it. pip takes the newest of all that is not named here, which is
# not what stood beside datasets 3.6 in its day: hence two environments with it.
_ENVIRONMENTS = {
    "newest": ("datasets",),
    "4.0.0": ("datasets==4.0.0",),
    "3.6.0": ("datasets==3.6.0",),
    "3.6.0-2025": ("datasets==3.6.0", "huggingface_hub==0.32.*", "pyarrow==20.*", "pandas==2.2.*"),
}

Splits = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Loading:
    """A way to load a dataset: how, from where, and what to call it in the output."""

    name: str
    way: str
    place: str


class LoadingError(Exception):
    """A version could not load the dataset; the message is the last line that it printed of the error."""


def install(folder: Path, requirements: tuple[str, ...]) -> Path:
    """Create an environment unless it exists, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # A kept environment with the newest is to have today's newest.
    command = [python, "-m", "pip", "install", "-qq", "--upgrade", *requirements, "pillow", "pycocotools"]
    subprocess.run(command, check=True)
    return python


def versions(python: Path) -> str:
    code = f"from importlib.metadata import version; print(*(n + ' ' + version(n) for n in {_PACKAGES}), sep=', ')"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def load(python: Path, loading: Loading, environment: Mapping[str, str]) -> Splits:
    run = subprocess.run(
        [python, _READER, loading.way, loading.place], env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise LoadingError((run.stderr.strip() or f"exit code {run.returncode}").splitlines()[-1])
    splits: Splits = json.loads(run.stdout.splitlines()[-1])
    return splits


def differences(found: Splits, expected: Splits) -> Iterator[str]:
    """Yield the first differing row of each split, with the difference."""
    if found.keys() != expected.keys():
        yield f"splits {sorted(found)} instead of {sorted(expected)}"
        return
    for split, rows in expected.items():
        if len(found[split]) != len(rows):
            yield f"{split} has {len(found[split])} rows instead of {len(rows)}"
            continue
        for number, (row, other) in enumerate(zip(found[split], rows, strict=True)):
            if parts := [part for part in other if row.get(part) != other[part]]:
                yield f"{split} row {number}: {', '.join(parts)}"
                break


def check(python: Path, loadings: list[Loading], expected: Splits, environment: Mapping[str, str]) -> list[str]:
    """Load in every way, and return the differences per way."""
    faults = []
    for loading in loadings:
        try:
            found = list(differences(load(python, loading, environment), expected))
        except LoadingError as error:
            found = [str(error)]
        faults += [f"{loading.name}: {fault}" for fault in found]
    return faults


def build(folder: Path) -> Path:
    command = ["build", "toyworld", "--preset", "none", "--count", "40", "--splits", "train=.8,test=.2"]
    _datasetkit([*command, "--out", str(folder)], os.environ)
    return folder


def _datasetkit(arguments: list[str], environment: Mapping[str, str]) -> None:
    command = Path(sys.executable).with_name("datasetkit")
    subprocess.run([command, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


def contents(splits: Splits) -> str:
    """Print how much is compared; a dataset without masks or spans would not test them.

    Raises:
        SystemExit: there is nothing to compare.

    """
    rows = [row for split in splits.values() for row in split]
    masks, spans = (sum(len(row[part]) for row in rows) for part in ("masks", "spans"))
    if not (rows and masks and spans):
        raise SystemExit(f"{len(rows)} rows, {masks} masks, {spans} spans: give a dataset that has some of each")
    return f"{len(rows)} rows in {len(splits)} splits, {masks} masks, {spans} spans"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--keep", type=Path, metavar="ENVIRONMENTS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, HubServer() as hub:
        place = Path(temporary)
        folder = options.folder or build(place / "built")
        _datasetkit(["push", str(folder), _NAME], hub.environment(place / "pusher"))
        loadings = [
            Loading("folder", "whole", str(folder)),
            Loading("folder, streamed", "streamed", str(folder)),
            Loading("shards without the card", "shards", str(folder)),
            Loading("Hub", "whole", _NAME),
            Loading("Hub, streamed", "streamed", _NAME),
        ]
        expected: Splits | None = None
        failed = False
        for name, requirements in _ENVIRONMENTS.items():
            python = install((options.keep or place / "environments").absolute() / name, requirements)
            environment = hub.environment(place / f"home-{name}")
            if expected is None:
                expected = load(python, loadings[0], environment)
                print(f"compared: {contents(expected)}; ways: {'; '.join(item.name for item in loadings)}", flush=True)
            faults = check(python, loadings, expected, environment)
            failed |= bool(faults)
            print(f"{name} ({versions(python)}): {' | '.join(faults) or 'ok'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
