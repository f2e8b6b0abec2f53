"""What the card says of models: which weights, which thresholds, which scores. Owns these tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasetkit.core.markdown import Markdown, code, number, table
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.model_scores import ScoreSummary

_SHORT_DIGITS = 12
_THRESHOLDS = {
    "captioner.prompt": "prompt of the captioner, where it wrote a description",
    "captioner.max_side_px": "longest side of the image that the captioner read, px",
    "captioner.temperature": "0 took the likeliest word each time",
    "captioner.seed": "of the captioner's draws",
    "detector.score_min": "boxes with no phrase above it were not taken from the detector",
    "detector.reduction": "how a phrase's score follows from those of its tokens",
    "duplicates.mask_iou": "masks overlapping a better one by this much are its duplicates",
    "duplicates.containment": "masks with this share in a better one of the same phrase are parts of it",
    "duplicates.group_members": "masks that take in this many others of the same phrase are groups",
    "duplicates.groups": "what became of groups",
    "cleaning.island_share": "parts of a mask below this share of it were removed",
    "cleaning.hole_share": "holes in a mask below this share of it were filled",
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
    "links.rival_share": "nor one that another phrase scores higher, below this share of that score",
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
    """Lay out which weights were in use."""
    return table(
        ["role", "model", "weights"],
        [[model.role, code(model.id), _weights(model.revision, model.sha256)] for model in manifest.models],
    )


def plugin_table(manifest: Manifest) -> Markdown:
    """Lay out which parts are not datasetkit's own, and what they come from."""
    rows = [
        [one.kind, code(one.path), f"{one.distribution} {one.version}" if one.distribution else "no distribution"]
        for one in manifest.plugins
    ]
    return table(["part", "class", "distribution"], rows)


def threshold_table(recipe: Mapping[str, Any], *, captioned: bool) -> Markdown:
    """Lay out a recipe's thresholds; options that it does not have or that did nothing are left out.

    Those of the captioner did nothing unless some record was ``captioned``.
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
    """Lay out the objects' scores as far as they were measured."""
    return table(
        ["score", "objects", "mean", "5 %", "25 %", "median", "75 %", "95 %", "meaning"],
        [[code(name), number(item.measured), *item.figures, _SCORES[name]] for name, item in scores.items()],
    )


def _weights(revision: str | None, sha256: str | None) -> Markdown:
    if revision is not None:
        return Markdown(f"revision {code(revision[:_SHORT_DIGITS])}")
    return Markdown(f"sha256 {code(sha256[:_SHORT_DIGITS])}" if sha256 is not None else "")
