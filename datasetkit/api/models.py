"""The models of a preset: which there are, to this machine, and whether they are whole. Owns what is said of each."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from datasetkit.core.errors import HubError, ModelError, OutputError, RecipeError
from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.options.build import ModelOptions, ModelsCommand
from datasetkit.options.grounding import GroundingOptions
from datasetkit.runtime.checkpoints import PREFIX, Checkpoint
from datasetkit.runtime.fetched import Found, Listing, find
from datasetkit.runtime.fetching import ask_hub, fetch
from datasetkit.runtime.machine import free_disk
from datasetkit.runtime.progress import OnProgress, counter

logger = logging.getLogger(__name__)
_SHORT_DIGITS = 12
_OUR_LICENSE = "apache-2.0"
_SHIPPED, _LOCAL, _HERE, _PARTLY, _ABSENT = "shipped", "local", "here", "partly here", "to be fetched"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a preset.

    Args:
        part: what it is used for ("captioner").
        id: Hub id, path, or name of a shipped model.
        commit: on the Hub; None where it is not known, or not on the Hub.
        size: bytes of the files that loading needs; None where only the Hub knows, and does not answer.
        missing: bytes of these that are not here; None where ``size`` is.
        license: as the Hub names it, and ours of shipped models; None where it is not known.
        state: shipped, local, here, partly here, or to be fetched.
        folder: where it is; None where nothing of it is here.
        hub_fault: why the Hub could not be asked; None where it was, or did not have to be.
        refusal: why the Hub does not give it, with what to do; None where it does.

    """

    part: str
    id: str
    commit: str | None
    size: int | None
    missing: int | None
    license: str | None
    state: str
    folder: Path | None
    hub_fault: str | None = None
    refusal: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be fetched."""
        return self.state in (_SHIPPED, _LOCAL, _HERE)

    @property
    def is_on_hub(self) -> bool:
        """Whether it comes from the Hub."""
        return self.state not in (_SHIPPED, _LOCAL)


@dataclass(frozen=True, slots=True)
class ModelList(Result):
    """The models of a preset.

    Args:
        models: in the order of the parts.
        fetched: bytes that :func:`fetch_models` fetched; None where nothing was to be fetched.

    """

    models: tuple[Model, ...]
    fetched: int | None = None

    def report(self) -> Iterator[str]:
        """Yield one line per model, and what is to be fetched."""
        for one in self.models:
            name = one.id if one.commit is None else f"{one.id}@{one.commit[:_SHORT_DIGITS]}"
            license_ = one.license or ("license unknown" if one.is_on_hub else None)
            facts = filter(None, (one.state, size_text(one.size), license_))
            yield f"{one.part:<13}{name}  {', '.join(facts)}"
        yield f"{'all':<13}{self.summary}"
        faults = [fault for one in self.models for fault in (one.hub_fault, one.refusal) if fault is not None]
        yield from (f"{'hub':<13}{fault}" for fault in dict.fromkeys(faults))

    @property
    def summary(self) -> str:
        """How much of the models is here."""
        missing = [one for one in self.models if not one.is_here]
        if self.fetched is not None:
            return f"fetched {size_text(self.fetched)}; every model is here"
        if not missing:
            return "every model is here"
        unknown = sum(one.missing is None for one in missing)
        sizes = [size_text(sum(one.missing or 0 for one in missing))] if unknown < len(missing) else []
        sizes += [f"{counted(unknown, 'model')} of unknown size"] if unknown else []
        return f"{' and '.join(sizes)} to be fetched"


@dataclass(frozen=True, slots=True)
class ModelCheck(Result):
    """What is wrong with models on this machine.

    Args:
        checked: ids of the models.
        faults: one line each.

    """

    checked: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def report(self) -> Iterator[str]:
        """Yield one line per fault."""
        yield from self.faults
        if self.is_sound:
            yield f"every file of {len(self.checked)} models is whole: {', '.join(self.checked)}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"is_sound": self.is_sound, **Result.as_json(self)}


def grounding_of(options: ModelOptions) -> GroundingOptions:
    """Return the options of the models that are asked for.

    Raises:
        RecipeError: none are.

    """
    chosen = options.grounding()
    if chosen is None:
        raise RecipeError("no models are named; give --preset grounded-sam, or a YAML file")
    return GroundingOptions.checked(chosen)


def check_folder(folder: Path | None, fetch_command: str) -> None:
    """Check that a folder of models is there, where one is named.

    Raises:
        ModelError: it is not a folder.

    """
    if folder is not None and not folder.is_dir():
        raise ModelError(
            f"{folder} is not a folder; where the Hub answers, run: {fetch_command} --to {shlex.quote(str(folder))}; "
            "then copy it here"
        )


def list_models(options: ModelsCommand) -> ModelList:
    """Look at each model: how large it is, and how much of it is here.

    Raises:
        RecipeError: no models are named, or their options are wrong.

    """
    return ModelList(tuple(model for model, _ in survey(grounding_of(options).checkpoints(), options.to)))


def fetch_models(options: ModelsCommand, on_progress: OnProgress | None = None) -> ModelList:
    """Fetch every model of a preset, or go on where that was interrupted.

    A file that is here but is not the one that the Hub listed is fetched again.

    Args:
        options: which models, and the folder to fill.
        on_progress: called with the bytes that are here.

    Raises:
        RecipeError: no models are named, or their options are wrong.
        HubError: the Hub cannot be reached, or refuses; what came is kept.
        OutputError: there is not enough space, or another process fetches the same.
        ModelError: a model has no safetensors, or came damaged.

    """
    place = options.to or Path(constants.HF_HUB_CACHE)
    if place.exists() and not place.is_dir():
        raise OutputError(f"{place} is not a folder; give one as --to")
    checkpoints = [one for one in grounding_of(options).checkpoints() if one.local is None]
    for checkpoint in checkpoints:
        _remove_changed(checkpoint, options.to)
    asked = [(one, listing_of(one, options.to)) for one in checkpoints]
    models = [_model(one, _same_commit(find(one, options.to), listing), listing, None) for one, listing in asked]
    missing = sum(one.missing or 0 for one in models)
    free = free_disk(place)
    for one in models:
        logger.info("%s %s: %s, %s", one.part, one.id, size_text(one.size), one.state)
    logger.info("%s to be fetched, %s free in %s", size_text(missing), size_text(free), place)
    if missing > free:
        raise OutputError(
            f"{place} has {size_text(free)} free, and the models need {size_text(missing)}; make room, or give "
            "another folder as --to"
        )
    count = counter("fetching", sum(listing.size for _, listing in asked), on_progress)
    for checkpoint, listing in asked:
        fetch(checkpoint, listing, options.to, count)
    return ModelList(list_models(options).models, fetched=missing)


def check_models(options: ModelsCommand) -> ModelCheck:
    """Check that every file of the models is here, is the one that the Hub listed, and can be read.

    Raises:
        RecipeError: no models are named, or their options are wrong.
        ModelError: the folder of the models is not there.

    """
    checkpoints = grounding_of(options).checkpoints()
    check_folder(options.to, options.fetch_command())
    faults = [f"{one.id}: {fault}" for one in checkpoints for fault in _faults(one, options.to)]
    return ModelCheck(tuple(one.id for one in checkpoints), tuple(faults))


def survey(
    checkpoints: Iterable[Checkpoint], root: Path | None, *, asks_hub: bool = True
) -> Iterator[tuple[Model, Listing | None]]:
    """Look at each model, and at the listing of its files on the Hub where one is known.

    Args:
        checkpoints: the models.
        root: folder that was filled by :func:`fetch_models`; None for the Hub's cache.
        asks_hub: whether the Hub is asked about models that are not known here.

    """
    for one in checkpoints:
        if (local := one.local) is not None:
            size = _bytes_in(local)
            state = _SHIPPED if one.id.startswith(PREFIX) else _LOCAL if local.exists() else _ABSENT
            license_ = _OUR_LICENSE if state == _SHIPPED else None
            yield Model(one.part, one.id, None, size, 0, license_, state, local), None
            continue
        found = find(one, root)
        listing: Listing | None = None if found is None else found.listing
        fault: HubError | None = None
        if listing is None and asks_hub:
            try:
                listing = ask_hub(one)
            except HubError as error:
                fault = error
        yield _model(one, found, listing, fault), listing


def listing_of(checkpoint: Checkpoint, root: Path | None) -> Listing:
    """Return what a model consists of: as it was noted when all of it was fetched, else as the Hub says now."""
    found = find(checkpoint, root)
    if found is not None and found.listing is not None and not found.lacking():
        return found.listing
    return ask_hub(checkpoint)


def _remove_changed(checkpoint: Checkpoint, root: Path | None) -> None:
    if (found := find(checkpoint, root)) is None:
        return
    for name in found.changed():
        logger.warning("%s: %s is not the file that the Hub listed; it is fetched again", checkpoint.id, name)
        found.remove(name)


def _same_commit(found: Found | None, listing: Listing) -> Found | None:
    """Return what is here of the listed commit: the Hub may have moved on since an earlier fetch was cut short."""
    return found if found is not None and found.commit == listing.commit else None


def size_text(size: int | None) -> str:
    """Write a size for people: ``689.4 MB``."""
    from rich.filesize import decimal

    return "size unknown" if size is None else decimal(size)


def _model(one: Checkpoint, found: Found | None, listing: Listing | None, fault: HubError | None) -> Model:
    """Put together what is known of a model of the Hub."""
    folder = None if found is None else found.folder
    if listing is None:
        is_whole = found is not None and not found.lacking(has_weights=one.has_weights)
        size = None if folder is None or not is_whole else _bytes_in(folder)
        commit, missing = None if found is None else found.commit, 0 if is_whole else None
        state = _HERE if is_whole else _ABSENT if found is None else _PARTLY
        hub_fault = refusal = None
        if fault is not None and fault.status is None:
            hub_fault = str(fault).removeprefix(f"{one.id}: ")
        elif fault is not None:
            refusal = str(fault)
        return Model(one.part, one.id, commit, size, missing, None, state, folder, hub_fault, refusal)
    if folder is None:
        return Model(one.part, one.id, listing.commit, listing.size, listing.size, listing.license, _ABSENT, None)
    there = Found(folder, listing)
    missing = there.missing()
    state = _HERE if not there.lacking() else _ABSENT if missing == listing.size else _PARTLY
    return Model(one.part, one.id, listing.commit, listing.size, missing, listing.license, state, folder)


def _faults(checkpoint: Checkpoint, root: Path | None) -> Iterator[str]:
    if (local := checkpoint.local) is not None:
        if not local.exists():
            yield f"there is no {local}"
        elif local.is_dir():
            yield from _unreadable(checkpoint.id)
        return
    found = find(checkpoint, root)
    if found is None:
        yield f"it is not in {root or 'the cache of the Hub'}"
        return
    faults = tuple(found.faults(has_weights=checkpoint.has_weights))
    yield from faults or _unreadable(str(found.folder))


def _unreadable(folder: str) -> Sequence[str]:
    """Return why a model's configuration cannot be read, or names an architecture that transformers does not know."""
    from datasetkit.runtime.loading import load_config  # imports torch and transformers

    try:
        load_config(folder, None)
    except ModelError as error:
        return (str(error),)
    return ()


def _bytes_in(place: Path) -> int:
    return sum(path.stat().st_size for path in ([place] if place.is_file() else place.glob("*")) if path.is_file())
