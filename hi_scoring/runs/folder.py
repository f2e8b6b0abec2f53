"""Folders that hold what one command computed. Owns the note of what decides it, and whose folder may be touched."""

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
    """A folder and what is to be computed into it.

    Args:
        path: of the folder.
        command: that computes, such as ``datasetkit score``.
        description: what decides the results: model, dataset, options. Of plain JSON values and options.

    """

    def __init__(self, path: Path, command: str, description: Mapping[str, Any]) -> None:
        self.path = path
        self._maker = {"made_by": command}
        self._options = description
        self._description = json.loads(json.dumps(plain({**self._maker, **description})))

    @property
    def is_ours(self) -> bool:
        """Whether the folder is noted as that of the same command and description."""
        return self._told() == self._description

    @property
    def is_anothers(self) -> bool:
        """Whether it is noted as that of another description."""
        return self._told() not in (None, self._description)

    def check(self, *, has_results: bool, overwrite: bool) -> None:
        """Refuse a folder that this run must not touch. Every process may ask; nothing is changed.

        Args:
            has_results: whether anything was computed in it.
            overwrite: whether results of another description may give way.

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
        """Note in the folder what it is for; results of another description must be gone by then."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            replace_file(self.path / RUN_NAME, (json.dumps(self._description, indent=2) + "\n").encode())
        except FileNotFoundError:
            # Another process, begun together with this one, may have put the same note in place between.
            if not self.is_ours:
                raise

    def _told(self) -> dict[str, Any] | None:
        """What the folder says of the run whose files it holds; None where no run was here."""
        try:
            found = read_json(self.path / RUN_NAME)
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or not self._maker.items() <= found.items():
            return None
        # What an earlier version left may lack options that were added since.
        return dict(completed(found, self._options))


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name the values that differ, such as ``options.prompt``, with both of them."""
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
