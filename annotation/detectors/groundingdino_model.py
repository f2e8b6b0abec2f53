"""The model of the original groundingdino-py. Owns how its configuration and weights are read without running code."""

from __future__ import annotations

import importlib
import pickle
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, BertConfig

from datasetkit.annotation.detectors.groundingdino_bert import (
    PromptTokenizer,
    TextEncoder,
    check_transformers,
    in_place_of_package_bert,
)
from datasetkit.annotation.detectors.tokens import check_tokenizer
from datasetkit.core.documents import DocumentError, read_yaml
from datasetkit.core.errors import ModelError
from datasetkit.core.text import first_line, one_line
from datasetkit.options.models import GroundingDinoPyOptions
from datasetkit.runtime.loading import load_processor
from datasetkit.runtime.packages import GROUNDINGDINO, TORCHVISION, require

CONFIGS = ("GroundingDINO_SwinT_OGC", "GroundingDINO_SwinB_cfg")
# The package's other backbones download weights when they are built.
_BACKBONES = ("swin_T_224_1k", "swin_B_224_22k", "swin_B_384_22k", "swin_L_224_22k", "swin_L_384_22k")
# In the published checkpoints but not in the model: label embeddings of training, and a buffer of older BERTs.
_TOLERATED = {"label_enc.weight", "bert.embeddings.position_ids"}


def build_model(options: GroundingDinoPyOptions) -> Any:
    """Build the package's model with its weights, in float32 on the CPU, for inference.

    The text encoder's weights are not needed: the checkpoint contains them.

    Raises:
        MissingPackageError: the package does not work here.
        ModelError: one of the parts is missing, or does not fit the others.

    """
    check_transformers(transformers.__version__)
    require("the detector groundingdino-py", TORCHVISION, GROUNDINGDINO)
    from groundingdino.models.GroundingDINO import groundingdino as package

    text_encoder, revision = options.text_encoder, options.revision
    bert_config = load_processor(AutoConfig, text_encoder, revision)
    if not isinstance(bert_config, BertConfig):
        raise ModelError(f"text encoder {text_encoder} is a {bert_config.model_type}; groundingdino-py needs a bert")
    tokenizer = load_processor(AutoTokenizer, text_encoder, revision)
    check_tokenizer(tokenizer, text_encoder)
    config = read_config(options.config)
    try:
        with in_place_of_package_bert(package, TextEncoder(bert_config), PromptTokenizer(tokenizer)):
            model = package.build_groundingdino(config)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"configuration {options.config} does not build a model: {error}; compare it with one of the package's"
        ) from error
    load_weights(model, options.weights)
    return model.eval()


def read_config(config: str) -> Namespace:
    """Read the options of the package's model.

    Args:
        config: one of ``CONFIGS``, or a YAML file that maps options of the package to values; options that it leaves
            out are as in ``GroundingDINO_SwinT_OGC``.

    Raises:
        ModelError: it is neither, or has unknown options or values of the wrong type. Python files are refused because
            the package would run them.

    """
    if config in CONFIGS:
        values = _package_config(config)
    elif Path(config).suffix in {".yaml", ".yml"}:
        values = _yaml_config(Path(config))
    else:
        raise ModelError(
            f"configuration {config!r} is neither one of {', '.join(CONFIGS)} nor a .yaml file; use one of these"
        )
    # Gradient checkpointing is for training only.
    return Namespace(**{**values, "use_checkpoint": False, "use_transformer_ckpt": False})


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load a checkpoint of the package: ``{"model": state dict}``, names with or without ``module.`` before them.

    Raises:
        ModelError: it cannot be read without running code, or does not fit the model.

    """
    from groundingdino.util.misc import clean_state_dict

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(f"weights {path} cannot be read: {first_line(error)}; use the package's .pth file") from error
    state = checkpoint.get("model") if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise ModelError(f"weights {path} have no entry 'model' with a state dict; use the package's .pth file")
    try:
        keys = model.load_state_dict(clean_state_dict(state), strict=False)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"weights {path} do not fit the configuration: {one_line(error)[:300]}") from error
    unexpected = sorted(set(keys.unexpected_keys) - _TOLERATED)
    if keys.missing_keys or unexpected:
        raise ModelError(
            f"weights {path} do not fit the configuration: {_some(keys.missing_keys)} missing, "
            f"{_some(unexpected)} unexpected; use the configuration that they were trained with"
        )


def _package_config(name: str) -> dict[str, Any]:
    module = importlib.import_module(f"groundingdino.config.{name}")
    return {key: value for key, value in vars(module).items() if not key.startswith("_")}


def _yaml_config(path: Path) -> dict[str, Any]:
    known = _package_config(CONFIGS[0])
    try:
        given = read_yaml(path)
    except DocumentError as error:
        raise ModelError(f"configuration {error}") from error
    except OSError as error:
        raise ModelError(f"configuration {path} cannot be read: {first_line(error)}; use a YAML file") from error
    if not isinstance(given, dict):
        raise ModelError(f"configuration {path} does not map options to values; write lines like 'enc_layers: 6'")
    for key, value in given.items():
        if key not in known:
            raise ModelError(
                f"configuration {path} has the unknown option {key!r}; known are {', '.join(sorted(known))}"
            )
        # For isinstance, bool is an int; and 0 is a valid dropout.
        if type(value) is not type(known[key]) and (type(known[key]), type(value)) != (float, int):
            raise ModelError(f"configuration {path} has {key}: {value!r}; use a value like {known[key]!r}")
    if given.get("backbone", _BACKBONES[0]) not in _BACKBONES:
        raise ModelError(
            f"configuration {path} has backbone: {given['backbone']!r}; use one of {', '.join(_BACKBONES)}"
        )
    return {**known, **given}


def _some(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "none"
