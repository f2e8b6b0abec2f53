"""The models that a recipe names, loaded and combined. Owns the construction of an annotator from options."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.similarity import ImageTextCropScorer
from datasetkit.core.detections import Grounding, Query
from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.core.protocols import Captioner, CropScorer, Detector, Grounder, PhraseFinder, Segmenter
from datasetkit.options.build import Placement
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS, GivenOptions
from datasetkit.pipeline.promises import CAPTION, DETECT, GROUND, SEGMENT
from datasetkit.runtime.batches import Batches
from datasetkit.runtime.devices import torch_device
from datasetkit.runtime.parts import make_part
from datasetkit.runtime.timers import Stages


def grounded_annotator(
    options: GroundingOptions,
    placement: Placement,
    finder: PhraseFinder,
    *,
    describes: bool,
    key_max: int | None,
    stages: Stages,
) -> GroundedAnnotator:
    """Load the models that the options name.

    Args:
        options: options of all models.
        placement: where they run.
        finder: finds noun phrases.
        describes: whether a captioner may be needed; otherwise it is not loaded.
        key_max: how many of the mentioned objects become key objects; None for all.
        stages: timers.

    Raises:
        ModelError: a model cannot be loaded.
        MissingPackageError: a package that a model needs does not work here.
        PluginError: a plug-in cannot be created.

    """
    device = torch_device(placement.device)
    captioner: Captioner | None = None
    if describes and not isinstance(options.captioner, GivenOptions):
        captioner = make_part(CAPTIONERS, options.captioner, CAPTION, device=device, dtype=options.dtype)
    crop_scorer: CropScorer | None = None
    if options.similarity is not None:
        crop_scorer = ImageTextCropScorer(options.similarity, device=device, dtype=options.dtype)
    return GroundedAnnotator(
        options,
        finder=finder,
        grounder=_grounder(options, placement, device, stages),
        captioner=captioner,
        crop_scorer=crop_scorer,
        key_max=key_max,
        captioner_batch=placement.captioner_batch,
        stages=stages,
    )


def load_detector(options: GroundingOptions, device: str) -> Detector:
    """Load the detector that the options name."""
    loaded: Detector = make_part(DETECTORS, options.detector, DETECT, device=device, dtype=options.dtype)
    return loaded


def load_segmenter(options: GroundingOptions, device: str) -> Segmenter:
    """Load the segmenter that the options name; options with a grounder name none."""
    if options.segmenter is None:
        raise ModelError(f"detector {options.detector.name} does not use a segmenter")
    loaded: Segmenter = make_part(SEGMENTERS, options.segmenter, SEGMENT, device=device, dtype=options.dtype)
    return loaded


def _grounder(options: GroundingOptions, placement: Placement, device: str, stages: Stages) -> Grounder:
    if options.is_grounder:
        loaded: Grounder = make_part(
            GROUNDERS, options.detector, GROUND, device=device, dtype=options.dtype, stages=stages
        )
        return loaded if GROUNDERS.origin(options.detector.name) is None else _Batched(loaded, placement)
    return BoxesThenMasks(
        load_detector(options, device),
        load_segmenter(options, device),
        detector_batch=placement.detector_batch,
        segmenter_batch=placement.segmenter_batch,
        stages=stages,
    )


class _Batched:
    """A grounder of a plug-in, called with as many images as a detector would be; fewer where memory runs out."""

    def __init__(self, grounder: Grounder, placement: Placement) -> None:
        self.identities = grounder.identities
        self._batches: Batches[tuple[Image.Image, Query], Grounding] = Batches(
            lambda pairs: grounder.ground([image for image, _ in pairs], [query for _, query in pairs]),
            placement.detector_batch,
        )

    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Ground each image's query; see :class:`datasetkit.core.protocols.Grounder`."""
        return self._batches.run(list(zip(images, queries, strict=True)))
