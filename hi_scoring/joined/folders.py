"""Folders of results from any command. Owns how commands are recognised, and that all folders belong to one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError, RecipeError
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.comparison.report.terminal import ComparisonResult
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.runs.facts import Facts, ModelFacts, read_facts
from datasetkit.hi_scoring.runs.folder import RUN_NAME
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.sparse.folder import Sparsity

Results = HeadScores | Knockouts | Ablations | Sparsity | ComparisonResult
# In the order of sections on the page.
_LOADERS: Mapping[str, Callable[[Path], Results]] = {
    "datasetkit score": HeadScores.load,
    "datasetkit knockout": Knockouts.load,
    "datasetkit ablate": Ablations.load,
    "datasetkit sparsify": Sparsity.load,
    "datasetkit compare": ComparisonResult.load,
    "datasetkit tune": ComparisonResult.load,
}


class _Note(Facts):
    """The note of a command in its folder, as far as a report reads it."""

    made_by: str
    model: ModelFacts
    scores: _RankedBy | None = None


class _RankedBy(Facts):
    """The score that heads were ranked by."""

    by: str = ""


@dataclass(frozen=True, eq=False)
class ResultFolder:
    """Results of one command.

    Args:
        name: name of the folder, with as many parent folders as are needed to distinguish it from the others.
        command: the command that made it, such as ``datasetkit score``.
        description: everything that decides the results, as noted by the command; plain JSON values.

    """

    name: str
    command: str
    model: ModelIdentity
    description: Mapping[str, Any]
    results: Results


def read_folders(folders: Sequence[Path]) -> list[ResultFolder]:
    """Read folders with results of one model; folders of one command keep their order.

    Args:
        folders: at least one, each once.

    Raises:
        BuiltFolderError: a folder holds no results of a known command, or unfinished ones.
        RecipeError: no folder was given, a folder was given twice, or folders belong to different models.

    """
    if not folders:
        raise RecipeError("no folder was given; give at least one")
    twice = [folder for folder, count in Counter(folder.resolve() for folder in folders).items() if count > 1]
    if twice:
        raise RecipeError(f"{twice[0].name} was given twice; give each folder once")
    notes = [_note(folder) for folder in folders]
    models = [_model(note) for note in notes]
    for folder, model in zip(folders, models, strict=True):
        if _weights(model) != _weights(models[0]):
            raise RecipeError(
                f"{folders[0]} is about {_told(models[0])}, {folder} about {_told(model)}; a report covers one model"
            )
    found = [
        ResultFolder(name, note["made_by"], model, note, _LOADERS[note["made_by"]](folder))
        for name, folder, note, model in zip(_names(folders), folders, notes, models, strict=True)
    ]
    places = list(_LOADERS)
    return sorted(found, key=lambda one: places.index(one.command))


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of paths, as many as are needed to distinguish them."""
    ways = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, ways)) + 1):
        names = ["/".join(way[-count:]) for way in ways]
        if len(set(names)) == len(names):
            break
    return names


def _note(folder: Path) -> dict[str, Any]:
    """Read the note of a command in its folder."""
    again = f"give folders that {', '.join(f'`{command}`' for command in _LOADERS)} wrote"
    note = read_facts(folder / RUN_NAME, _Note, "results", again)
    if note["made_by"] not in _LOADERS:
        raise BuiltFolderError(f"{folder} holds no results that a report can show; {again}")
    return note


def _model(note: Mapping[str, Any]) -> ModelIdentity:
    told = note["model"]
    return ModelIdentity("model", told["id"], told["revision"], told["sha256"])


def _weights(model: ModelIdentity) -> tuple[str | None, str | None]:
    """Return what distinguishes models; two names may stand for the same weights."""
    return model.revision, model.sha256


def _told(model: ModelIdentity) -> str:
    return f"{model.id} ({model.revision or model.sha256})"
