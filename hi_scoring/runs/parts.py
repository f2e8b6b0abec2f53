"""Interruptible work on a dataset, part by part. Owns the folder of the parts, and when a run is finished.

A part is a file that is written atomically. The drops are written last: once they exist, the run is finished.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasetkit.core.ledger import Drop
from datasetkit.hi_scoring.runs.drops import DROPS_NAME, write_drops
from datasetkit.hi_scoring.runs.folder import RunFolder

_PARTS_NAME = "parts"


class PartedRun:
    """One run in its folder.

    Args:
        folder: the folder of finished results; parts are separate files.
        command: the command that computes, such as ``datasetkit score``.
        description: everything that decides the values: model, dataset, options, size of parts; plain JSON values and
            options.
        results: names of the files that parts are merged into.
        suffix: suffix of a part's file.

    """

    def __init__(
        self, folder: Path, command: str, description: Mapping[str, Any], results: Sequence[str], suffix: str
    ) -> None:
        self.folder = folder
        self._note = RunFolder(folder, command, description)
        self._results = tuple(results)
        self._suffix = suffix
        self._parts = folder / _PARTS_NAME
        self._finished = re.compile(rf"\d{{8}}{re.escape(suffix)}")
        self._unfinished = re.compile(rf"\d{{8}}{re.escape(suffix)}\.partial")

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that this run must not change; see :meth:`RunFolder.check`."""
        has_results = any((self.folder / name).exists() for name in (DROPS_NAME, *self._results))
        has_results = has_results or (self._parts.is_dir() and bool(self.finished_parts()))
        self._note.check(has_results=has_results, overwrite=overwrite)

    def prepare(self, *, overwrite: bool) -> None:
        """Prepare the folder; keep the parts of an interrupted run with the same description.

        Args:
            overwrite: whether finished results are replaced, also those with the same description.

        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._note.is_ours or (overwrite and self.is_finished):
            # The drops first: without them, everything else counts as unfinished.
            for name in (DROPS_NAME, *self._results):
                (self.folder / name).unlink(missing_ok=True)
            self._remove_parts()
            self._note.claim()
        self._parts.mkdir(exist_ok=True)

    @property
    def is_finished(self) -> bool:
        """Whether all parts of exactly this run were merged into results."""
        return self._note.is_ours and (self.folder / DROPS_NAME).exists()

    def part(self, number: int) -> Path:
        """Return the path of a part."""
        return self._parts / f"{number:08d}{self._suffix}"

    def finished_parts(self) -> list[Path]:
        """Return the paths of finished parts, in the dataset's order."""
        return sorted(path for path in self._parts.iterdir() if self._finished.fullmatch(path.name))

    def finish(self, drops: Sequence[Drop]) -> None:
        """Write the drops, which finishes the run, and remove files that only an unfinished run needs."""
        write_drops(self.folder, drops)
        self._remove_parts()

    def _remove_parts(self) -> None:
        if not self._parts.is_dir():
            return
        for path in self._parts.iterdir():
            if self._finished.fullmatch(path.name) or self._unfinished.fullmatch(path.name):
                path.unlink()
        if not any(self._parts.iterdir()):
            self._parts.rmdir()
