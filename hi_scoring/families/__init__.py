"""Model families: where image tokens are and which pixels each shows. Owns the facts of each family, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from datasetkit.core.errors import ModelError, PluginError
from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.options.heads import FAMILIES
from datasetkit.runtime.packages import TORCHVISION, require
from datasetkit.runtime.parts import Guarded, Promise
from datasetkit.runtime.registry import naming

_PROMISES = {
    "image_tokens": Promise(ImageTokens),
    "prompt": Promise(str),
    "closing": Promise(str),
    "inputs": Promise(Mapping),
    "response_tokens": Promise(tuple),
}


def family_of(config: Any, name: str | None = None) -> Family:
    """Return the family of a model.

    Args:
        config: configuration of the model.
        name: name of a plug-in, or a class as ``package.module:Class``; None finds the family by ``config.model_type``.

    Raises:
        ModelError: models of this type are not supported; the message says how to add a family.
        UnknownNameError: no family has that name.
        PluginError: the plug-in cannot be imported or constructed, or is not a family.
        MissingPackageError: its processors need torchvision, which does not work here.

    """
    if name is None and config.model_type not in FAMILIES.names:  # model_type is data, which must never name a class
        raise ModelError(
            f"there is no family for models of type {config.model_type!r}; known: "
            f"{', '.join(FAMILIES.names)}. To add a family, write a subclass of Family (see hi_scoring/families), and "
            f"pass it as --family package.module:Class, or as an entry point of the group {FAMILIES.group}"
        )
    name = name or config.model_type
    kind, origin = FAMILIES.load(name), FAMILIES.origin(name)
    if origin is None:
        family: Family = kind()
    else:
        with naming(origin):
            found = kind()
        if not isinstance(found, Family):
            raise PluginError(f"{origin} is not a subclass of datasetkit.hi_scoring.families.base.Family")
        family = cast("Family", Guarded(found, origin, _PROMISES))
    if family.needs_torchvision:
        require(f"a model of type {config.model_type}", TORCHVISION)
    return family
