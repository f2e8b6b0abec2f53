"""Options of describing images and finding objects with models: which ones, and thresholds. Owns names and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from datasetkit.options.base import Dtype, Options, Unit
from datasetkit.options.models import (
    GROUNDERS,
    Captioner,
    CheckpointOptions,
    Detector,
    GivenOptions,
    GroundingDinoPyOptions,
    SegmentAnythingOptions,
    Segmenter,
    SimilarityOptions,
)
from datasetkit.runtime.checkpoints import Checkpoint
from datasetkit.runtime.registry import is_dotted

_FILE_OPTIONS = {"model", "text_encoder", "config", "weights"}
# Options that name a model, by the class of options that has them.
_CHECKPOINTS: dict[type | None, tuple[str, ...]] = {
    CheckpointOptions: ("model",),
    GroundingDinoPyOptions: ("weights", "text_encoder"),
    SegmentAnythingOptions: ("weights",),
}


class DuplicateOptions(Options):
    """Which masks of one image show the same thing."""

    mask_iou: Unit = 0.8
    """A mask overlapping a better one by this much or more is its duplicate."""
    containment: Unit = 0.9
    """A mask of which this share or more lies within a better one of the same phrase is contained in it."""
    group_members: int = Field(default=2, ge=2)
    """A mask that contains this many or more others of the same phrase is a group."""
    groups: Literal["drop", "keep"] = "drop"
    """Treatment of groups: drop them, or keep them, marked as crowds."""


class CleaningOptions(Options):
    """Repairs of a mask."""

    island_share: Unit = 0.05
    """Parts with less than this share of the mask's area are removed."""
    hole_share: Unit = 0.05
    """Holes with less than this share of the mask's area are filled."""
    smooth_px: int = Field(default=0, ge=0)
    """Radius in pixels of the disc that opens and closes the mask; 0 leaves its outline."""


class FilterOptions(Options):
    """Thresholds that a detection must reach to be kept; 0, or 1 for the largest share, lets everything pass."""

    detection_min: Unit = 0.0
    """Lowest detector confidence."""
    predicted_iou_min: Unit = 0.0
    """Lowest IoU that the segmenter estimates."""
    stability_min: Unit = 0.0
    """Lowest stability of the mask under changes of its threshold."""
    similarity_min: Unit = 0.0
    """Lowest similarity of crop and phrase."""
    cleaning_iou_min: Unit = 0.5
    """Lowest IoU of the mask before and after cleaning."""
    area_share_min: Unit = 0.0
    """Smallest share of the image that the mask covers."""
    box_share_max: Unit = 0.95
    """Largest share of the image that the box covers."""


class LinkOptions(Options):
    """Which detections a phrase is linked to."""

    prompt: Literal["phrases", "caption"] = "phrases"
    """Detector prompt: the list of phrases, or the whole caption."""
    score_min: Unit = 0.3
    """Lowest score of a phrase for a detection that it is linked to."""
    rival_share: Unit = 0.7
    """Lowest score of a phrase for a detection, as a share of the score of a phrase for something else; for a plural,
    also as a share of its best detection's score."""
    margin: Unit = 0.1
    """Lead in the sum of scores that the best choice needs over every other one, where phrases could take more
    detections than they name, or the same ones."""


class GroundingOptions(Options):
    """Models that describe images, and that turn an image and its words into objects and links."""

    captioner: Captioner = GivenOptions()
    """Captioner of images without a description."""
    recaption: bool = False
    """Whether the captioner also replaces the descriptions that images have."""
    detector: Detector | None
    """Detector that finds the phrases, or grounder that finds them and cuts them out; null keeps the source's objects,
    to which the descriptions are aligned."""
    segmenter: Segmenter | None = None
    """Segmenter that cuts out what the detector found; none with a grounder."""
    similarity: SimilarityOptions | None = None
    """Model that compares crops with phrases.  [default: they are not compared]"""
    duplicates: DuplicateOptions = DuplicateOptions()
    """Rules for one thing that was found twice."""
    cleaning: CleaningOptions | None = CleaningOptions()
    """Repairs of masks; null leaves them as they come."""
    filters: FilterOptions = FilterOptions()
    """Thresholds that a detection must reach."""
    links: LinkOptions = LinkOptions()
    """Rules for which detections a phrase is linked to."""
    dtype: Dtype = "float32"
    """Type of weights and activations."""

    @model_validator(mode="after")
    def _check_captioner(self) -> GroundingOptions:
        if isinstance(self.captioner, GivenOptions) and (self.recaption or self.detector is None):
            asked = "recaption asks for new descriptions" if self.recaption else "no detector is named"
            raise ValueError(f"{asked}, but captioner given writes none; name another captioner")
        return self

    @model_validator(mode="after")
    def _check_masks(self) -> GroundingOptions:
        if self.detector is None:
            if self.segmenter is not None or self.similarity is not None:
                part = "similarity" if self.segmenter is None else "segmenter"
                raise ValueError(f"without a detector there is nothing to find; leave the {part} out")
            return self
        name = self.detector.name
        if self.is_grounder == (self.segmenter is not None):
            raise ValueError(
                f"{name} returns masks itself; leave the segmenter out"
                if self.segmenter is not None
                else f"detector {name} returns boxes only; name a segmenter"
            )
        return self

    @property
    def finds_objects(self) -> bool:
        """Whether models find objects, which replace those of the source."""
        return self.detector is not None

    @property
    def is_grounder(self) -> bool:
        """Whether the detector cuts out what it finds, too."""
        if self.detector is None:
            return False
        name, instance = self.detector.name, self.detector.instance
        if instance is None and is_dotted(name):
            instance = GROUNDERS.load(name)
        return hasattr(instance, "ground") if instance is not None else name in GROUNDERS.names

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models that are loaded; of plug-ins, those whose options are of a checkpoint."""
        return tuple(
            Checkpoint(name, str(place), getattr(part, "revision", None), has_weights=option != "text_encoder")
            for name, part in self
            for option in _CHECKPOINTS.get(_kind_of(part), ())
            if (place := getattr(part, option)) is not None
        )

    def published(self) -> dict[str, Any]:
        """Return the options as plain values; local files and folders by their name alone, as ``./name``."""
        named = self._with_files(lambda item: f"./{Path(item).resolve().name}" if Path(item).exists() else str(item))
        return named.model_dump(mode="json")

    def located(self, root: Path) -> GroundingOptions:
        """Return the options with files and folders that are below ``root`` taken from there."""
        return self._with_files(lambda item: str(root / item) if (root / item).exists() else str(item))

    def with_folders(self, folders: Mapping[Checkpoint, Path]) -> GroundingOptions:
        """Return the options with models taken from folders on this machine."""
        places = {(one.part, one.id): str(folder) for one, folder in folders.items()}
        parts: dict[str, Any] = {}
        for name, part in self:
            for option in _CHECKPOINTS.get(_kind_of(part), ()):
                if (place := places.get((name, str(getattr(part, option))))) is not None:
                    parts[name] = part.model_copy(update={option: place, "revision": None})
        return self.model_copy(update=parts)

    def _with_files(self, change: Callable[[str | Path], str]) -> GroundingOptions:
        parts: dict[str, Any] = {}
        for name, part in self:
            named = dict(part) if isinstance(part, Options) else {}
            names = [one for one, item in named.items() if one in _FILE_OPTIONS or isinstance(item, Path)]
            update = {option: type(getattr(part, option))(change(getattr(part, option))) for option in names}
            parts[name] = part.model_copy(update=update) if update else part
        return self.model_copy(update=parts)


def _kind_of(part: object) -> type | None:
    return next((kind for kind in _CHECKPOINTS if kind is not None and isinstance(part, kind)), None)
