"""The models that a recipe names, loaded and combined. Owns the construction of an annotator from options."""

from __future__ import annotations

import shlex
from pathlib import Path

from huggingface_hub import constants

from datasetkit.annotation.describing import Describer
from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import AtOnce, BoxesThenMasks
from datasetkit.annotation.similarity import ImageTextCropScorer
from datasetkit.core.errors import HubError, ModelError
from datasetkit.core.protocols import Captioner, CropScorer, Detector, Grounder, PhraseFinder, Segmenter
from datasetkit.core.text import listed
from datasetkit.options.build import Placement
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS, GivenOptions
from datasetkit.pipeline.promises import CAPTION, DETECT, GROUND, SEGMENT
from datasetkit.runtime.checkpoints import Checkpoint
from datasetkit.runtime.devices import torch_device
from datasetkit.runtime.fetched import find
from datasetkit.runtime.fetching import ask_hub
from datasetkit.runtime.parts import make_part, origin_of_options


def model_annotator(
    options: GroundingOptions,
    placement: Placement,
    finder: PhraseFinder,
    *,
    describes: bool,
    key_max: int | None,
) -> GroundedAnnotator | Describer:
    """Load the models that the options name.

    Args:
        options: options of all models; see :func:`found_models` for those that are loaded from a folder.
        placement: where they run.
        finder: finds noun phrases.
        describes: whether a captioner may be needed; otherwise it is not loaded.
        key_max: how many of the mentioned objects become key objects; None for all.

    Returns:
        what describes images and finds their objects, or describes them only where the options name no detector.

    Raises:
        ModelError: a model cannot be loaded.
        MissingPackageError: a package that a model needs does not work here.
        PluginError: a plug-in cannot be created.

    """
    device = torch_device(placement.device)
    describer: Describer | None = None
    if describes and not isinstance(options.captioner, GivenOptions):
        captioner: Captioner = make_part(CAPTIONERS, options.captioner, CAPTION, device=device, dtype=options.dtype)
        describer = Describer(captioner, recaption=options.recaption, batch=placement.captioner_batch, device=device)
    if describer is not None and not options.finds_objects:
        return describer
    crop_scorer: CropScorer | None = None
    if options.similarity is not None:
        crop_scorer = ImageTextCropScorer(options.similarity, device=device, dtype=options.dtype)
    return GroundedAnnotator(
        options,
        finder=finder,
        grounder=_grounder(options, placement, device),
        describer=describer,
        crop_scorer=crop_scorer,
        key_max=key_max,
        device=device,
    )


def found_models(
    options: GroundingOptions, folder: Path | None, *, describes: bool, fetch_command: str
) -> GroundingOptions:
    """Look for every model before the first is loaded.

    Args:
        options: of all models.
        folder: that was filled by ``datasetkit models fetch --to``; None for the Hub and its cache.
        describes: whether a captioner may be needed.
        fetch_command: what fetches the models.

    Returns:
        the options, with models that are in the folder taken from there.

    Raises:
        ModelError: models are neither here nor to be had from the Hub; the message names all of them.

    """
    there: dict[Checkpoint, Path] = {}
    absent: list[str] = []
    reasons: list[str] = []
    is_partly_there = False
    for one in options.checkpoints():
        if one.local is not None or (one.part == "captioner" and not describes):
            continue
        found = find(one, folder)
        if folder is not None and found is not None and not found.lacking():
            there[one] = found.folder
        elif folder is not None:
            absent.append(one.id)
            is_partly_there |= found is not None
        elif (found is None or found.lacking(has_weights=one.has_weights)) and (reason := _why_not_on_hub(one)):
            absent.append(one.id)
            reasons.append(reason)
    if absent:
        names = listed(list(dict.fromkeys(absent)))
        verb, them = ("is", "it") if len(absent) == 1 else ("are", "them")
        command = fetch_command
        if folder is not None:
            has_not = f"the folder {folder} does not have {'all of ' if is_partly_there else ''}{them}"
            reasons.append(has_not if folder.is_dir() else f"{folder} is not a folder")
            command += f" --to {shlex.quote(str(folder))}"
        raise ModelError(
            f"{names} {verb} not on this machine, and {listed(list(dict.fromkeys(reasons)))}; "
            f"where the Hub answers, run: {command}"
        )
    return options.with_folders(there)


def _why_not_on_hub(checkpoint: Checkpoint) -> str | None:
    """Return why a model cannot be fetched, or None."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        ask_hub(checkpoint)
    except HubError as error:
        return str(error).removeprefix(f"{checkpoint.id}: ")
    return None


def load_detector(options: GroundingOptions, device: str) -> Detector:
    """Load the detector that the options name.

    Raises:
        ModelError: they name none, or it cannot be loaded.

    """
    if options.detector is None:
        raise ModelError("no detector is named; these models describe images only")
    loaded: Detector = make_part(DETECTORS, options.detector, DETECT, device=device, dtype=options.dtype)
    return loaded


def load_segmenter(options: GroundingOptions, device: str) -> Segmenter:
    """Load the segmenter that the options name; options with a grounder name none."""
    if options.segmenter is None:
        raise ModelError("no segmenter is named; a grounder does not use one")
    loaded: Segmenter = make_part(SEGMENTERS, options.segmenter, SEGMENT, device=device, dtype=options.dtype)
    return loaded


def _grounder(options: GroundingOptions, placement: Placement, device: str) -> BoxesThenMasks | AtOnce:
    if options.detector is not None and options.is_grounder:
        loaded: Grounder = make_part(GROUNDERS, options.detector, GROUND, device=device, dtype=options.dtype)
        # The grounder of this package goes through its images one by one.
        is_own = origin_of_options(GROUNDERS, options.detector) is None
        return AtOnce(loaded, batch=1 if is_own else placement.detector_batch)
    return BoxesThenMasks(
        load_detector(options, device),
        load_segmenter(options, device),
        detector_batch=placement.detector_batch,
        segmenter_batch=placement.segmenter_batch,
    )
