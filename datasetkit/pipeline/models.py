"""The models that a recipe names, loaded and put together. Owns the way from options to an annotator."""

from __future__ import annotations

from typing import Any

from datasetkit.annotation.backends import CAPTIONERS, CROP_SCORERS, DETECTORS, GROUNDERS, PACKAGES, SEGMENTERS
from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.errors import ModelError
from datasetkit.core.protocols import Captioner, CropScorer, Detector, Grounder, Segmenter
from datasetkit.options import GroundingOptions
from datasetkit.options.base import Options
from datasetkit.options.grounding import GivenOptions
from datasetkit.runtime.devices import Placement
from datasetkit.runtime.packages import require
from datasetkit.runtime.registry import Registry
from datasetkit.runtime.timers import Stages


def grounded_annotator(
    options: GroundingOptions, placement: Placement, *, describes: bool, key_max: int | None, stages: Stages
) -> GroundedAnnotator:
    """Load the models that the options name.

    Args:
        options: of all models.
        placement: where they run.
        describes: whether a captioner may be needed; else it is not loaded.
        key_max: how many of the mentioned objects are key objects; None for all.
        stages: clocks.

    Raises:
        ModelError: a model cannot be loaded.
        MissingPackageError: a package that a model needs does not work here.

    """
    device = placement.torch_device
    captioner: Captioner | None = None
    if describes and not isinstance(options.captioner, GivenOptions):
        captioner = _load(CAPTIONERS, options.captioner, device, options.dtype)
    crop_scorer: CropScorer | None = None
    if options.similarity is not None:
        scorer = CROP_SCORERS.load("image-text")
        crop_scorer = scorer(**options.similarity.model_dump(), device=device, dtype=options.dtype)
    return GroundedAnnotator(
        options,
        finder=NounPhraseFinder(),
        grounder=_grounder(options, placement, device, stages),
        captioner=captioner,
        crop_scorer=crop_scorer,
        key_max=key_max,
        captioner_batch=placement.captioner_batch,
        stages=stages,
    )


def load_detector(options: GroundingOptions, device: str) -> Detector:
    """Load the detector that the options name."""
    return _load(DETECTORS, options.detector, device, options.dtype)


def load_segmenter(options: GroundingOptions, device: str) -> Segmenter:
    """Load the segmenter that the options name; those of a detector that gives masks itself name none."""
    if options.segmenter is None:
        raise ModelError(f"detector {options.detector.name} takes no segmenter")
    return _load(SEGMENTERS, options.segmenter, device, options.dtype)


def _grounder(options: GroundingOptions, placement: Placement, device: str, stages: Stages) -> Grounder:
    if options.segmenter is None:
        return _load(GROUNDERS, options.detector, device, options.dtype, stages=stages)
    return BoxesThenMasks(
        load_detector(options, device),
        load_segmenter(options, device),
        detector_batch=placement.detector_batch,
        segmenter_batch=placement.segmenter_batch,
        stages=stages,
    )


def _load(registry: Registry, options: Options, device: str, dtype: str, **more: Any) -> Any:
    values = options.model_dump()
    name = values.pop("name")
    require(name, *PACKAGES.get(name, ()))
    return registry.load(name)(**values, device=device, dtype=dtype, **more)
