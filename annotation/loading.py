"""Checkpoints in the format of transformers. Owns how they are loaded: safetensors only, no code of theirs is run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from datasetkit.checkpoints import resolve
from datasetkit.errors import ModelError
from datasetkit.models import ModelIdentity

_CHUNK_BYTES = 1 << 20


def load_model(auto_class: Any, model: str, revision: str | None, *, device: str, dtype: str) -> Any:
    """Load weights for inference.

    Args:
        auto_class: one of transformers' classes with ``from_pretrained``.
        model: Hub id, local folder, or the name of a shipped model.
        revision: commit, tag or branch on the Hub.
        device: as torch names it.
        dtype: name of a floating type of torch.

    Raises:
        ModelError: it is not there, of another kind, or has no safetensors.

    """
    try:
        loaded = auto_class.from_pretrained(
            resolve(model),
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
        )
        return loaded.to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise _cannot_load("model", model, error) from error


def load_processor(auto_class: Any, model: str, revision: str | None) -> Any:
    """Load what prepares a model's input.

    Raises:
        ModelError: it is not there, or of another kind.

    """
    try:
        return auto_class.from_pretrained(resolve(model), revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_load("processor of", model, error) from error


def load_config(model: str, revision: str | None, model_types: Collection[str]) -> Any:
    """Load a checkpoint's configuration, to refuse another architecture before its weights are read.

    Raises:
        ModelError: it is not there, or its ``model_type`` is none of ``model_types``.

    """
    try:
        config = AutoConfig.from_pretrained(resolve(model), revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_load("configuration of", model, error) from error
    if config.model_type not in model_types:
        raise ModelError(f"{model} is a model of type {config.model_type}; give one of type {' or '.join(model_types)}")
    return config


def checkpoint_identity(role: str, model: str, loaded: Any) -> ModelIdentity:
    """Tell which weights a loaded model has: the Hub's commit, or the digest of local files."""
    folder = Path(resolve(model))
    if not folder.is_dir():
        return ModelIdentity(role, model, getattr(loaded.config, "_commit_hash", None), None)
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(file_sha256(path).encode())
    return ModelIdentity(role, model if resolve(model) != model else folder.resolve().name, None, digest.hexdigest())


def file_identity(role: str, path: Path) -> ModelIdentity:
    """Tell which weights a file holds."""
    return ModelIdentity(role, path.name, None, file_sha256(path))


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _cannot_load(what: str, model: str, error: Exception) -> ModelError:
    first = str(error).strip().split("\n")[0]
    return ModelError(f"{what} {model} cannot be loaded: {first}; give a Hub id, a local folder or toyworld:...")
