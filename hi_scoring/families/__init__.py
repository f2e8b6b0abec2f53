"""Model families: where image tokens are and which pixels each shows. Owns the facts of each family, one file each."""

from __future__ import annotations

import importlib
from typing import Any

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families.base import Family
from datasetkit.runtime.packages import TORCHVISION, require

# config.model_type of each family's models, its file and its class.
_FAMILIES = {
    "llava": ("llava", "Llava"),
    "llava_next": ("llava_next", "LlavaNext"),
    "llava_onevision": ("llava_onevision", "LlavaOnevision"),
    "qwen2_vl": ("qwen_vl", "QwenVl"),
    "qwen2_5_vl": ("qwen_vl", "QwenVl"),
    "qwen3_vl": ("qwen_vl", "QwenVl"),
    "idefics3": ("idefics3", "Idefics3"),
    "smolvlm": ("idefics3", "SmolVlm"),
    "paligemma": ("paligemma", "PaliGemma"),
    "gemma3": ("gemma3", "Gemma3"),
    "internvl": ("internvl", "InternVl"),
}


def known_types() -> tuple[str, ...]:
    """``config.model_type`` of every model that can be scored."""
    return tuple(_FAMILIES)


def family_of(config: Any) -> Family:
    """Give what is known of a model's family.

    Raises:
        ModelError: nothing is; the message says how to add it.
        MissingPackageError: its processors need torchvision, which does not work here.

    """
    if config.model_type not in _FAMILIES:
        raise ModelError(
            f"nothing is known of the image tokens of models of type {config.model_type!r}; known: "
            f"{', '.join(_FAMILIES)}. To add a family, write a subclass of Family in a file of its own in "
            "hi_scoring/families, and name it in hi_scoring/families/__init__.py"
        )
    module, name = _FAMILIES[config.model_type]
    family: Family = getattr(importlib.import_module(f"datasetkit.hi_scoring.families.{module}"), name)()
    if family.needs_torchvision:
        require(f"a model of type {config.model_type}", TORCHVISION)
    return family
