"""Registries compared with the options of recipes: equal names, and every class accepts the options of its name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from datasetkit.annotation.similarity import ImageTextCropScorer
from datasetkit.options.models import (
    CAPTIONERS,
    DETECTORS,
    GROUNDERS,
    SEGMENTERS,
    SimilarityOptions,
)
from datasetkit.runtime.packages import first_fault

ENTRIES = [
    (registry, name, registry.builtin[name].options)
    for registry in (CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS)
    for name in registry.names
    if name != "given"
]


def takes(kind: Any) -> tuple[str, set[str]]:
    """Return the name of a class's options, and the names of its other arguments."""
    options, *others = inspect.signature(kind).parameters.values()
    return options.annotation, {item.name for item in others}


def test_every_part_has_options_of_its_name() -> None:
    assert all(options.model_fields["name"].default == name for _, name, options in ENTRIES)


@pytest.mark.parametrize(("registry", "name", "options"), ENTRIES, ids=[name for _, name, _ in ENTRIES])
def test_every_class_accepts_the_options_of_its_name(registry: Any, name: str, options: Any) -> None:
    if first_fault(registry.builtin[name].packages) is not None:
        pytest.skip(f"the packages of {name} do not work here")
    taken, others = takes(registry.load(name))
    assert (taken, others >= {"device", "dtype"}) == (options.__name__, True)


def test_crop_scorer_accepts_the_similarity_options() -> None:
    assert takes(ImageTextCropScorer) == (SimilarityOptions.__name__, {"device", "dtype"})


def test_registries_import_no_torch_or_transformers() -> None:
    loaded = "[name for name in ('torch', 'transformers') if name in sys.modules]"
    program = f"import datasetkit.options.models, sys; print({loaded})"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
