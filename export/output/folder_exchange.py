"""The exchange of a published dataset for a new one. Owns which files of OUT are ours, and the steps of the exchange.

The new dataset is in ``new`` of the journal. ``exchange.json`` appears there when it is complete; from then on every
step renames one file or folder, and the next build finishes an interrupted exchange.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from datasetkit.core.documents import read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import replace_file
from datasetkit.export.dataset.manifest import (
    ASSETS_FOLDER,
    DATA_FOLDER,
    IMAGES,
    LICENSE_NAME,
    MANIFEST_NAME,
    PAPERS,
    Manifest,
    is_generated_name,
)

NEW, _OLD, _PLAN = "new", "old", "exchange.json"


def is_begun(journal: Path) -> bool:
    """Whether an exchange was started and not finished."""
    return (journal / _PLAN).exists()


def exchange(folder: Path, journal: Path) -> None:
    """Replace what a former build wrote by the contents of ``new`` in the journal; other files are kept."""
    coming = [path.name for path in (journal / NEW).iterdir() if path.name != ASSETS_FOLDER]
    coming += [f"{ASSETS_FOLDER}/{path.name}" for path in (journal / NEW / ASSETS_FOLDER).glob("*")]
    plan = {"leaving": _ours(folder), "coming": sorted(coming, key=lambda name: (name == MANIFEST_NAME, name))}
    replace_file(journal / _PLAN, json.dumps(plan).encode())
    finish(folder, journal)


def finish(folder: Path, journal: Path) -> None:
    """Make the remaining moves of an exchange; the manifest is removed first and added last.

    Raises:
        KeyError, TypeError, ValueError: the plan is damaged.

    """
    new, old = journal / NEW, journal / _OLD
    plan = read_json(journal / _PLAN)
    if not all(map(_is_of_dataset, (*plan["leaving"], *plan["coming"]))):
        raise ValueError(f"{_PLAN} names files that no dataset has")
    for name in plan["leaving"]:
        is_exchanged = name in plan["coming"] and not (new / name).exists()
        if not is_exchanged and os.path.lexists(folder / name):
            (old / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(old / name)
    for name in plan["coming"]:
        if (new / name).exists():
            (folder / name).parent.mkdir(exist_ok=True)
            (new / name).replace(folder / name)
    assets = folder / ASSETS_FOLDER
    if assets.is_dir() and not any(assets.iterdir()):
        assets.rmdir()


def _is_of_dataset(name: str) -> bool:
    """Whether a name is one that builds write: plans are read from a folder that others may be able to write to."""
    return name in {MANIFEST_NAME, DATA_FOLDER, *PAPERS} or is_generated_name(name)


def _ours(folder: Path) -> list[str]:
    names = [MANIFEST_NAME, DATA_FOLDER, *(f"{ASSETS_FOLDER}/{name}" for name in IMAGES), *PAPERS]
    with suppress(BuiltFolderError):  # nothing was published yet
        if LICENSE_NAME in Manifest.read(folder).files:
            names.append(LICENSE_NAME)
    return [name for name in dict.fromkeys(names) if os.path.lexists(folder / name)]
