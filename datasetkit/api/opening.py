"""Inputs of the commands for heads. Owns the checks before slow imports, and the log lines about inputs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from datasetkit.core.addresses import hub_address
from datasetkit.core.documents import read_json
from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.scores.facts import check_shape, read_score_facts
from datasetkit.options.head_commands import AskCommand, HeadsCommand
from datasetkit.options.head_forms import GIVEN_LAYERS, RANKED
from datasetkit.options.heads import FAMILIES
from datasetkit.runtime.checkpoints import PREFIX, check_location, resolve
from datasetkit.runtime.launcher import is_first_process
from datasetkit.runtime.progress import OnProgress
from datasetkit.runtime.registry import Registry

if TYPE_CHECKING:
    import datasets

    from datasetkit.annotation.naming import KnownObjectNamer
    from datasetkit.hi_scoring.data.datasets import Data
    from datasetkit.hi_scoring.data.examples import Examples
    from datasetkit.hi_scoring.model.subject import Subject

    Rows: TypeAlias = str | PathLike[str] | datasets.Dataset | Sequence[Mapping[str, Any]]
Model: TypeAlias = str | PathLike[str] | tuple[Any, Any]
Out: TypeAlias = str | PathLike[str] | None

logger = logging.getLogger(__name__)


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def tell(line: str, level: int = logging.INFO) -> None:
    """Log a line, in the first process only."""
    if is_first_process():
        logger.log(level, line)


def given(model: object, data: object, out: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function as the fields of a command."""
    return {"model": model, "data": data, **({} if out is None else {"out": out}), **options}


def check_inputs(
    command: HeadsCommand,
    scores: Path | None = None,
    rankings: Sequence[str] = (),
    selections: Sequence[str] = (),
    more: Sequence[tuple[object, str | None]] = (),
) -> None:
    """Check everything that needs neither torch nor transformers nor datasets.

    Args:
        command: names the model and the rows.
        scores: folder of head scores.
        rankings: SCORE:POSITIONS that the scores must contain.
        selections: selections of layers or heads of the model.
        more: other rows, each with its split.

    Raises:
        UnknownNameError: no family has that name.
        ModelError: the folder of the model does not exist.
        BuiltFolderError: the folder of scores contains none.
        RecipeError: the scores are of a model of another shape or lack a ranking, or a selection is impossible.
        SourceError: the rows or the split do not exist.

    """
    shape = _shape_of(command.model) if isinstance(command.model, str) else None
    if scores is not None:
        facts = read_score_facts(scores)
        scored = facts["layers"], facts["heads"]
        check_shape(scored, shape or scored)
        shape = scored
        for by in rankings:
            if by not in facts["scores"]:
                raise RecipeError(f"no score is called {by}; known: {', '.join(facts['scores'])}")
    for text in selections:
        _check_selection(text, shape, has_scores=scores is not None)
    check_names(FAMILIES, *([] if command.family is None else [command.family]))
    for place, split in ((command.data, command.split), *more):
        if isinstance(place, str) and not is_table(place):
            from datasetkit.hi_scoring.data.datasets import check_place

            check_place(place, split)


def check_names(registry: Registry, *names: str) -> None:
    """Refuse names that a registry does not know, without importing those that it knows."""
    for name in names:
        if not registry.has(name):
            registry.load(name)


def is_table(data: object) -> bool:
    """Return whether rows are a table of questions."""
    return isinstance(data, str) and Path(data).suffix in (".csv", ".parquet") and not Path(data).is_dir()


def _shape_of(model: str) -> tuple[int, int] | None:
    """Return the numbers of layers and heads of a local model, if its configuration states them."""
    check_location(model)
    try:
        config = read_json(Path(resolve(model)) / "config.json")
        text = config.get("text_config", config)
        return int(text["num_hidden_layers"]), int(text["num_attention_heads"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _check_selection(text: str, shape: tuple[int, int] | None, *, has_scores: bool) -> None:
    match = RANKED.fullmatch(text)
    if match is not None and not has_scores:
        raise RecipeError(f"{text} needs head scores; give those of the model, or select all or layers:1,5")
    if shape is None:
        return
    if match is not None:
        most = (shape[0] if match["unit"] == "layers" else shape[0] * shape[1]) // 2
        if not 1 <= int(match["k"]) <= most:
            raise RecipeError(
                f"{text}: the model has {shape[0]} layers of {shape[1]} heads, so K must be from 1 to {most}, "
                "so that the highest and the lowest do not overlap"
            )
    elif (layers := GIVEN_LAYERS.fullmatch(text)) and max(map(int, layers[1].split(","))) >= shape[0]:
        raise RecipeError(f"{text} is impossible; give each layer once, from 0 to {shape[0] - 1}")


def open_model(command: HeadsCommand) -> Subject:
    """Return the model, without loading it."""
    from datasetkit.hi_scoring.model.subject import LoadedSubject, Subject

    if not isinstance(command.model, str):
        return LoadedSubject.of(*command.model, command.family)
    return Subject(command.model, command.revision, command.device, command.dtype, command.family)


def open_rows(
    subject: Subject,
    data: object,
    split: str | None,
    limit: int | None,
    needs: Sequence[str],
    usual: str = "test",
    *,
    name: str = "rows",
) -> Data:
    """Open rows for tasks or for ``score``; log their number, and a warning if the model was not made for them."""
    from datasetkit.hi_scoring.data.datasets import ASKED, DESCRIBED, SCORED, open_data

    requires = SCORED if "score" in needs else DESCRIBED if "caption" in needs else ASKED
    rows = open_data(data, split, limit, requires, usual)
    what = "" if name == "rows" else " rows"
    tell(f"{name}: {len(rows):,}{what} of split {rows.identity.split} of {rows.identity.name}")
    warn_of_toyworld(subject, rows.identity.name, is_rendered=rows.is_rendered)
    return rows


def warn_of_toyworld(subject: Subject, name: str, *, is_rendered: bool) -> None:
    """Log a warning if the shipped model gets images that it was not made for."""
    if warning := toyworld_warning(subject, name, is_rendered=is_rendered):
        tell(f"{warning}; give another --model", logging.WARNING)


def toyworld_warning(subject: Subject, name: str, *, is_rendered: bool) -> str:
    """Return a warning, without a full stop, if the shipped model gets images that it was not made for, else ""."""
    if is_rendered or not subject.name.startswith(PREFIX):
        return ""
    return f"{subject.name} was trained on rendered scenes only; for the images of {name}, its output is meaningless"


def read_examples_of(
    command: AskCommand,
    rows: Data,
    subject: Subject,
    on_progress: OnProgress,
    name: str = "rows",
    *,
    is_held: bool = True,
) -> Examples:
    """Read all rows, and log how many are unusable.

    Args:
        command: the command.
        rows: the rows.
        subject: the model.
        on_progress: see :data:`~datasetkit.runtime.progress.OnProgress`.
        name: name of the rows, for users.
        is_held: whether the output of the model is compared with the rows.

    """
    from datasetkit.hi_scoring.data.examples import read_examples
    from datasetkit.options.heads import TextOptions

    prefix = "" if name == "rows" else f"{name}: "
    show: Callable[[int], None] = lambda done: on_progress(f"reading {name}", done, len(rows))  # noqa: E731
    examples = read_examples(rows, command.part(TextOptions), subject.dialogue, show)
    for reason, count in Counter(drop.reason for drop in examples.drops).most_common():
        tell(f"{prefix}unusable rows: {count:,}, {reason} ({reason.explanation})")
    if is_held and "caption" in command.tasks and rows.has_found_objects:
        tell(
            f"{prefix}objects of {rows.identity.name} were found by models, from the descriptions: whether "
            "captions name something absent is not measured"
        )
    return examples


def namer_of(*rows: Data) -> KnownObjectNamer | None:
    """Return the finder of objects that captions name, for the categories of all rows; None if they have none."""
    from datasetkit.annotation.naming import KnownObjectNamer

    categories = set().union(*(one.categories() for one in rows))
    return KnownObjectNamer(sorted(categories)) if categories else None


def folder_of(command: HeadsCommand, kind: str, subject: Subject, name: str | None = None) -> Path:
    """Return the output folder: by default ``kind/MODEL--DATA``, with DATA by its name, or as it was given."""
    data = name or (command.data if isinstance(command.data, str) else type(command.data).__name__)
    if name is None and not Path(data).exists():
        data = str(hub_address(data, "dataset") or data)
    names = (place.rstrip("/").rpartition("/")[2].replace(":", "-") for place in (subject.name, data))
    return command.out or Path(kind) / "--".join(names)
