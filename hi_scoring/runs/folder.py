"""Folders with the results of one command. Owns the note of what decides them, and which folders may be changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasetkit.core.documents import read_json
from datasetkit.core.errors import OutputError
from datasetkit.core.files import replace_file
from datasetkit.options.base import completed, plain

RUN_NAME = "run.json"


class RunFolder:
    """A folder and the description of the results to compute into it.

    Args:
        path: path of the folder.
        command: the command that computes, such as ``datasetkit score``.
        description: everything that decides the results: model, dataset, options; plain JSON values and options.

    """

    def __init__(self, path: Path, command: str, description: Mapping[str, Any]) -> None:
        self.path = path
        self._maker = {"made_by": command}
        self._options = description
        self._description = json.loads(json.dumps(plain({**self._maker, **description})))

    @property
    def is_ours(self) -> bool:
        """Whether the folder's note has the same command and description."""
        return self._told() == self._description

    @property
    def is_anothers(self) -> bool:
        """Whether the folder's note has another description."""
        return self._told() not in (None, self._description)

    def check(self, *, has_results: bool, overwrite: bool) -> None:
        """Refuse a folder that this run must not change. Every process may call this; nothing is changed.

        Args:
            has_results: whether the folder has any results.
            overwrite: whether results of another description may be replaced.

        Raises:
            OutputError: it holds results of another description, or files that this command did not make.

        """
        found = self._told()
        if found is None:
            if self.path.is_dir() and any(path.name != f"{RUN_NAME}.partial" for path in self.path.iterdir()):
                raise OutputError(
                    f"{self.path} holds files that `{self._maker['made_by']}` did not make; give another --out"
                )
        elif found != self._description and has_results and not overwrite:
            told = "; ".join(
                f"{name} is {there} there, {here} here" for name, there, here in _differences(found, self._description)
            )
            raise OutputError(f"{self.path} holds other results: {told}; give another --out, or --overwrite")

    def claim(self) -> None:
        """Write the note into the folder; results of another description must have been removed."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            replace_file(self.path / RUN_NAME, (json.dumps(self._description, indent=2) + "\n").encode())
        except FileNotFoundError:
            # Another process, started together with this one, may have written the same note in the meantime.
            if not self.is_ours:
                raise

    def _told(self) -> dict[str, Any] | None:
        """Return the note on the run whose files are in the folder; None if there was no run."""
        try:
            found = read_json(self.path / RUN_NAME)
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or not self._maker.items() <= found.items():
            return None
        # A note of an earlier version may lack options that were added since.
        return dict(completed(found, self._options))


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the names of values that differ, such as ``options.prompt``, with both values."""
    first, second = dict(_leaves(there)), dict(_leaves(here))
    return [
        (name, json.dumps(first.get(name)), json.dumps(second.get(name)))
        for name in first | second
        if first.get(name) != second.get(name)
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else key)
