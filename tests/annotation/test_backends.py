"""Registries against the options of recipes: the same names, and every class takes the options of its name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any, get_args

import pytest

from datasetkit.annotation.similarity import ImageTextCropScorer
from datasetkit.options.grounding import CaptionerOptions, DetectorOptions, SegmenterOptions
from datasetkit.options.models import (
    CAPTIONERS,
    DETECTORS,
    GROUNDERS,
    PACKAGES,
    SEGMENTERS,
    GivenOptions,
    SimilarityOptions,
)
from datasetkit.runtime.packages import first_fault


def options_by_name(union: Any) -> dict[str, Any]:
    return {item.model_fields["name"].default: item for item in get_args(get_args(union)[0])}


CAPTIONER_OPTIONS = options_by_name(CaptionerOptions)
DETECTOR_OPTIONS = options_by_name(DetectorOptions)
SEGMENTER_OPTIONS = options_by_name(SegmenterOptions)
ENTRIES = [
    (registry, name, {**CAPTIONER_OPTIONS, **DETECTOR_OPTIONS, **SEGMENTER_OPTIONS}[name])
    for registry in (CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS)
    for name in registry.names
]


def takes(kind: Any) -> tuple[str, set[str]]:
    """Give the name of a class's options, and those of its other arguments."""
    options, *others = inspect.signature(kind).parameters.values()
    return options.annotation, {item.name for item in others}


def test_registries_and_recipes_know_the_same_names() -> None:
    assert {*CAPTIONERS.names, GivenOptions().name} == CAPTIONER_OPTIONS.keys()
    assert {*DETECTORS.names, *GROUNDERS.names} == DETECTOR_OPTIONS.keys()
    assert set(SEGMENTERS.names) == SEGMENTER_OPTIONS.keys()
    assert PACKAGES.keys() <= {name for _, name, _ in ENTRIES}


@pytest.mark.parametrize(("registry", "name", "options"), ENTRIES, ids=[name for _, name, _ in ENTRIES])
def test_every_class_takes_the_options_of_its_name(registry: Any, name: str, options: Any) -> None:
    if first_fault(PACKAGES.get(name, ())) is not None:
        pytest.skip(f"the packages of {name} do not work here")
    taken, others = takes(registry.load(name))
    assert (taken, others >= {"device", "dtype"}) == (options.__name__, True)


def test_the_crop_scorer_takes_the_options_of_similarity() -> None:
    assert takes(ImageTextCropScorer) == (SimilarityOptions.__name__, {"device", "dtype"})


def test_the_registries_import_neither_torch_nor_transformers() -> None:
    loaded = "[name for name in ('torch', 'transformers') if name in sys.modules]"
    program = f"import datasetkit.annotation.backends, sys; print({loaded})"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
