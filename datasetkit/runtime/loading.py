"""Checkpoints in the format of transformers. Owns how they are loaded: safetensors only, no code of theirs is run."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, StrictDataclassError
from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # under whichever name it is installed
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import MissingPackageError, ModelError
from datasetkit.core.files import file_sha256
from datasetkit.core.text import connection_fault
from datasetkit.runtime.checkpoints import Checkpoint, check_location, resolve
from datasetkit.runtime.fetched import RECORD, Found, Listing, find
from datasetkit.runtime.packages import TORCHVISION

_DECIDING = {".safetensors", ".json", ".jinja", ".model", ".txt"}
_TIMEOUT_S = 10
# What transformers and torch raise at files that are damaged. A torch that was built without a device asserts that it
# has it.
_BROKEN = (
    ImportError,
    OSError,
    ValueError,
    RuntimeError,
    SafetensorError,
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    StrictDataclassError,
)


def load_model(auto_class: Any, model: str, revision: str | None, *, device: str, dtype: str) -> Any:
    """Load weights for inference.

    Args:
        auto_class: one of transformers' classes with ``from_pretrained``.
        model: Hub id, local folder, or the name of a shipped model.
        revision: commit, tag or branch on the Hub.
        device: as torch names it.
        dtype: name of a floating type of torch.

    Raises:
        ModelError: it is not there, of another kind, has no safetensors, or lacks weights, which transformers would
            fill with random numbers.
        MissingPackageError: it needs a package that does not work here.

    """
    with _explained(f"model {model}"):
        loaded, found = auto_class.from_pretrained(
            _located(model, revision),
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            # These are reported below, by name.
            ignore_mismatched_sizes=True,
        )
        loaded = loaded.to(device).eval()
    unfit = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if unfit:
        raise ModelError(
            f"model {model} lacks {len(unfit)} of the weights of a {type(loaded).__name__}, or has them in another "
            f"shape (first {unfit[0]}); give a complete checkpoint of that kind"
        )
    return loaded


def load_processor(auto_class: Any, model: str, revision: str | None) -> Any:
    """Load the processor, tokenizer or configuration that prepares a model's input.

    Raises:
        ModelError: it is not there, or of another kind.
        MissingPackageError: it needs a package that does not work here.

    """
    with _explained(f"processor of {model}"):
        return auto_class.from_pretrained(_located(model, revision), revision=revision, trust_remote_code=False)


def load_config(model: str, revision: str | None, model_types: Collection[str] | None = None) -> Any:
    """Load a checkpoint's configuration, to refuse another architecture before its weights are read.

    Raises:
        ModelError: it is not there, or its ``model_type`` is not among ``model_types``, where these are given.

    """
    with _explained(f"configuration of {model}"):
        config = AutoConfig.from_pretrained(_located(model, revision), revision=revision, trust_remote_code=False)
    if model_types is not None and config.model_type not in model_types:
        raise ModelError(f"{model} is a model of type {config.model_type}; give one of type {' or '.join(model_types)}")
    return config


def checkpoint_identity(role: str, model: str, revision: str | None) -> ModelIdentity:
    """Return what a model that was loaded is made of: the Hub's commit, or the digest of local files.

    A folder that was fetched from the Hub is the Hub's commit. The digest of any other is of all weights,
    configurations, vocabularies and templates in it, by name and content.

    Raises:
        ModelError: files of a fetched folder are missing or were changed.

    """
    folder = Path(resolve(model))
    if not folder.is_dir():
        found = find(Checkpoint(role, model, revision), None)
        return ModelIdentity(role, model, None if found is None else found.commit, None)
    if (listing := Listing.read(folder)) is not None:
        if (fault := next(Found(folder, listing).faults(), None)) is not None:
            raise ModelError(f"{folder}: {fault}; fetch {listing.id} again, or remove {RECORD} if you changed it")
        return ModelIdentity(role, listing.id, listing.commit, None)
    name = model if resolve(model) != model else folder.resolve().name
    return ModelIdentity(role, name, None, _folder_sha256(folder))


def _folder_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _DECIDING:
            digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def file_identity(role: str, path: Path) -> ModelIdentity:
    """Return which weights a file holds."""
    return ModelIdentity(role, path.name, None, file_sha256(path))


def _located(model: str, revision: str | None) -> str:
    """Return what transformers takes; refuse what it would take for an id of the Hub, or read as something else."""
    place = check_location(model)
    if not Path(place).is_dir():
        _check_connection(place, revision)
    return place


def _check_connection(model: str, revision: str | None) -> None:
    """Refuse at once what cannot be fetched: the clients themselves try each file for half a minute."""
    if isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
        return
    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"{model} is not on this machine, and HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it once to "
            "fetch it, or give a local folder"
        )
    try:
        HfApi().model_info(model, revision=revision, timeout=_TIMEOUT_S)
    except httpx.TransportError as error:
        raise ModelError(
            f"{model} is not on this machine, and the Hub does not answer ({connection_fault(error)}); "
            "go online once to fetch it, or give a local folder"
        ) from error
    except HfHubHTTPError:
        return  # the request for its files reports why


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars and hints of loading away from our own progress line."""
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        if had_bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the errors of transformers and torch into one line each."""
    try:
        with _quiet():
            yield
    except ModelError:
        raise
    except Exception as error:
        if not (isinstance(error, _BROKEN) or type(error) is Exception):  # the latter is what tokenizers raises
            raise
        if "torchvision" in str(error).lower() and TORCHVISION.fault() is not None:
            raise MissingPackageError(
                f"{what} needs torchvision, which does not work here; run: {TORCHVISION.command}"
            ) from error
        if isinstance(error, ImportError):
            raise MissingPackageError(f"{what} needs a package that is not here: {_line(error)}") from error
        raise ModelError(
            f"{what} cannot be loaded: {_line(error)}; give a Hub id, a local folder or toyworld:..."
        ) from error


def _line(error: Exception) -> str:
    """Return the first line of an error."""
    return str(error).strip().split("\n")[0].rstrip(". ")
