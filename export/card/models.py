"""Models on a dataset's card: weights, licenses, thresholds, scores. Owns these tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from datasetkit.core.markdown import Markdown, code, number, table
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.statistics.model_scores import ScoreSummary
from datasetkit.runtime.checkpoints import PREFIX

_SHORT_DIGITS = 12
# The licenses of the checkpoints that the presets name, as their makers state them on the models' pages.
_LICENSES = {
    "HuggingFaceTB/SmolVLM-256M-Instruct": "Apache-2.0",
    "IDEA-Research/grounding-dino-tiny": "Apache-2.0",
    "facebook/sam-vit-base": "Apache-2.0",
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_THRESHOLDS = {
    "captioner.prompt": "the captioner's prompt, where it wrote a description",
    "captioner.max_side_px": "longest side of the image that the captioner read, px",
    "captioner.temperature": "0 took the likeliest word each time",
    "captioner.seed": "seed of the captioner's draws",
    "detector.score_min": "boxes with no phrase above it were left out",
    "detector.reduction": "how a phrase's score is computed from those of its tokens",
    "duplicates.mask_iou": "masks overlapping a better one by this much are its duplicates",
    "duplicates.containment": "masks with this share in a better one of the same phrase are parts of it",
    "duplicates.group_members": "masks that contain this many others of the same phrase are groups",
    "duplicates.groups": "what was done with groups",
    "cleaning.island_share": "parts of a mask smaller than this share of it were removed",
    "cleaning.hole_share": "holes in a mask smaller than this share of it were filled",
    "cleaning.smooth_px": "radius by which outlines were smoothed, px",
    "filters.detection_min": "least confidence of the detector",
    "filters.predicted_iou_min": "least IoU that the segmenter expects of its mask",
    "filters.stability_min": "least stability of the mask against its threshold",
    "filters.similarity_min": "least similarity of crop and phrase",
    "filters.cleaning_iou_min": "least IoU of the mask before and after cleaning",
    "filters.area_share_min": "least share of the image that a mask covers",
    "filters.box_share_max": "largest share of the image that a box covers",
    "links.prompt": "whether the detector was given the list of phrases or the whole caption",
    "links.score_min": "a phrase takes no object that it scores lower",
    "links.rival_share": "nor one for which another phrase scores higher, if its own score is below this share of that",
    "links.margin": "where there are more objects than a phrase names: the best must lead by this much",
}
_SCORES = {
    "detection": "the detector's confidence",
    "predicted_iou": "the segmenter's own estimate of its mask's IoU",
    "stability": "IoU of the mask cut at a higher and at a lower threshold",
    "similarity": "image-text similarity of crop and phrase",
    "cleaning_iou": "IoU of the mask before and after cleaning",
}


def found_by_models(manifest: Manifest) -> bool:
    """Return whether models found the objects; a captioner alone leaves those of the source."""
    return any(model.role != "captioner" for model in manifest.models)


def model_table(manifest: Manifest) -> Markdown:
    """Lay out which weights were used."""
    return table(
        ["role", "model", "weights"],
        [[model.role, code(model.id), _weights(model.revision, model.sha256)] for model in manifest.models],
    )


def model_license_table(manifest: Manifest) -> Markdown:
    """Lay out under which license each model is published, or where that is stated."""
    names = dict.fromkeys(model.id for model in manifest.models)
    return table(["model", "license"], [[code(name), _license(name)] for name in names])


def plugin_table(manifest: Manifest) -> Markdown:
    """Lay out which parts are not datasetkit's own, and the distributions they come from."""
    rows = [
        [one.kind, code(one.path), f"{one.distribution} {one.version}" if one.distribution else "no distribution"]
        for one in manifest.plugins
    ]
    return table(["part", "class", "distribution"], rows)


def threshold_table(recipe: Mapping[str, Any], *, captioned: bool) -> Markdown:
    """Lay out a recipe's thresholds, without options that it does not have or that had no effect.

    Those of the captioner had none unless some record was ``captioned``.
    """
    options = recipe.get("grounding") or {}
    idle = {"captioner"} if not captioned else set()
    if "detector" in options and options["detector"] is None:
        idle |= {path.partition(".")[0] for path in _THRESHOLDS} - {"captioner"}
    if not options.get("similarity"):
        idle.add("filters.similarity_min")
    rows = []
    for path, meaning in _THRESHOLDS.items():
        part, _, name = path.partition(".")
        if not idle & {part, path} and (value := (options.get(part) or {}).get(name)) is not None:
            rows.append([code(path), value, meaning])
    return table(["option", "value", "meaning"], rows)


def score_table(scores: Mapping[str, ScoreSummary]) -> Markdown:
    """Lay out the objects' scores that were measured."""
    return table(
        ["score", "objects", "mean", "5 %", "25 %", "median", "75 %", "95 %", "meaning"],
        [[code(name), number(item.measured), *item.figures, _SCORES[name]] for name, item in scores.items()],
    )


def _license(name: str) -> Markdown | str:
    if name.startswith(PREFIX):
        return "Apache-2.0, part of datasetkit"
    if name in _LICENSES:
        return _LICENSES[name]
    if _HUB_ID.fullmatch(name):
        return Markdown(f"see [the model's page](https://huggingface.co/{name})")
    return "not known: see where the model comes from"


def _weights(revision: str | None, sha256: str | None) -> Markdown:
    if revision is not None:
        return Markdown(f"revision {code(revision[:_SHORT_DIGITS])}")
    return Markdown(f"sha256 {code(sha256[:_SHORT_DIGITS])}" if sha256 is not None else "")
