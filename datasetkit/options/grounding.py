"""Options of finding objects with models: which models, and what their answers must reach. Owns names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from datasetkit.options.base import Dtype, Options, Unit
from datasetkit.options.models import (
    GROUNDERS,
    Captioner,
    Detector,
    GivenOptions,
    Segmenter,
    SimilarityOptions,
)
from datasetkit.runtime.registry import is_dotted

_FILE_OPTIONS = {"model", "text_encoder", "config", "weights"}


class DuplicateOptions(Options):
    """When masks of one image say the same thing."""

    mask_iou: Unit = 0.8
    """A mask overlapping a better one by this much or more is its duplicate."""
    containment: Unit = 0.9
    """A mask of which this share or more lies within a better one of the same phrase is contained in it."""
    group_members: int = Field(default=2, ge=2)
    """A mask that contains this many or more others of the same phrase is a group."""
    groups: Literal["drop", "keep"] = "drop"
    """What becomes of groups: drop them, or keep them, marked as crowds."""


class CleaningOptions(Options):
    """What is repaired in a mask."""

    island_share: Unit = 0.05
    """Parts with less than this share of the mask's area are removed."""
    hole_share: Unit = 0.05
    """Holes with less than this share of the mask's area are filled."""
    smooth_px: int = Field(default=0, ge=0)
    """Radius of the disc that opens and closes the mask; 0 leaves its outline."""


class FilterOptions(Options):
    """What a detection must reach to stay; 0, or 1 for the largest share, lets everything pass."""

    detection_min: Unit = 0.0
    """Lowest confidence of the detector."""
    predicted_iou_min: Unit = 0.0
    """Lowest IoU as the segmenter estimates it."""
    stability_min: Unit = 0.0
    """Lowest stability of the mask against its threshold."""
    similarity_min: Unit = 0.0
    """Lowest similarity of crop and phrase."""
    cleaning_iou_min: Unit = 0.5
    """Lowest IoU of the mask before and after cleaning."""
    area_share_min: Unit = 0.0
    """Smallest share of the image that the mask covers."""
    box_share_max: Unit = 0.95
    """Largest share of the image that the box covers."""


class LinkOptions(Options):
    """Which detections a phrase takes."""

    prompt: Literal["phrases", "caption"] = "phrases"
    """Whether the detector's prompt is the list of phrases or the whole caption."""
    score_min: Unit = 0.3
    """A phrase takes no detection that it scores lower."""
    rival_share: Unit = 0.7
    """A phrase takes no detection that it scores lower than this share of what a phrase for something else scores it; a
    plural takes none that it scores lower than this share of its best one, either."""
    margin: Unit = 0.1
    """Phrases that may take more than they name, or the same ones, take the best only if every other choice has a sum
    of scores that is lower by more than this."""


class GroundingOptions(Options):
    """How models turn an image and its words into objects and links."""

    captioner: Captioner = GivenOptions()
    """Describes images that have no description."""
    recaption: bool = False
    """Whether the captioner describes those as well that have one."""
    detector: Detector
    """Finds the phrases; a grounder finds them and cuts them out."""
    segmenter: Segmenter | None = None
    """Cuts out what the detector found; none where a grounder does both."""
    similarity: SimilarityOptions | None = None
    """Compares crops with phrases.  [default: they are not compared]"""
    duplicates: DuplicateOptions = DuplicateOptions()
    """What counts as one thing found twice."""
    cleaning: CleaningOptions | None = CleaningOptions()
    """What is repaired in masks; null leaves them as they come."""
    filters: FilterOptions = FilterOptions()
    """What a detection must reach."""
    links: LinkOptions = LinkOptions()
    """Which detections a phrase takes."""
    dtype: Dtype = "float32"
    """Type of weights and activations."""

    @model_validator(mode="after")
    def _check_captioner(self) -> GroundingOptions:
        if self.recaption and isinstance(self.captioner, GivenOptions):
            raise ValueError("recaption asks for new descriptions, but captioner given writes none; name another")
        return self

    @model_validator(mode="after")
    def _check_masks(self) -> GroundingOptions:
        name = self.detector.name
        if self.is_grounder == (self.segmenter is not None):
            raise ValueError(
                f"{name} gives masks itself; leave the segmenter out"
                if self.segmenter is not None
                else f"detector {name} gives boxes only; name a segmenter"
            )
        return self

    @property
    def is_grounder(self) -> bool:
        """Whether what finds the phrases cuts them out, too."""
        name, instance = self.detector.name, self.detector.instance
        if instance is None and is_dotted(name):
            instance = GROUNDERS.load(name)
        return hasattr(instance, "ground") if instance is not None else name in GROUNDERS.names

    def published(self) -> dict[str, Any]:
        """Give the options as plain values; local files and folders by their name alone, as ``./name``."""
        named = self._with_files(lambda item: f"./{Path(item).resolve().name}" if Path(item).exists() else str(item))
        return named.model_dump(mode="json")

    def located(self, root: Path) -> GroundingOptions:
        """Take the files and folders that lie below ``root`` from there."""
        return self._with_files(lambda item: str(root / item) if (root / item).exists() else str(item))

    def _with_files(self, change: Callable[[str | Path], str]) -> GroundingOptions:
        parts: dict[str, Any] = {}
        for name, part in self:
            named = dict(part) if isinstance(part, Options) else {}
            names = [one for one, item in named.items() if one in _FILE_OPTIONS or isinstance(item, Path)]
            update = {option: type(getattr(part, option))(change(getattr(part, option))) for option in names}
            parts[name] = part.model_copy(update=update) if update else part
        return self.model_copy(update=parts)
