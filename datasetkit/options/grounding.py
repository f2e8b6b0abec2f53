"""Options of the models that find objects. Owns their names, ranges and defaults.

The options of each model, ``name`` apart, are the keyword arguments of its class in ``annotation``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from datasetkit.options.base import Options

_FILE_OPTIONS = {"model", "text_encoder", "config", "weights"}

Unit = Annotated[float, Field(ge=0.0, le=1.0)]


class _Checkpoint(Options):
    """A checkpoint in the format of transformers.

    Args:
        model: Hub id, local folder, or ``toyworld:...``.
        revision: commit, tag or branch on the Hub; None takes the newest.

    """

    model: str = Field(min_length=1)
    revision: str | None = None


class GivenOptions(Options):
    """The captioner ``given``: descriptions come from the source."""

    name: Literal["given"] = "given"


class ImageTextToTextOptions(_Checkpoint):
    """The captioner ``image-text-to-text``: any chat model of that kind describes the picture.

    Args:
        prompt: what it is told.
        max_new_tokens: how much it may write.
        temperature: 0 takes the likeliest word each time; above, words are drawn.
        seed: of the draws; each picture's depend on it and on nothing else.

    """

    name: Literal["image-text-to-text"] = "image-text-to-text"
    prompt: str = Field(default="Describe the image.", min_length=1)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    seed: int = Field(default=0, ge=0)


class GroundingDinoOptions(_Checkpoint):
    """The detector ``grounding-dino``: Grounding DINO and MM-Grounding DINO checkpoints.

    Args:
        score_min: boxes with no phrase above it are not given.
        reduction: how a phrase's score follows from those of its tokens.

    """

    name: Literal["grounding-dino"] = "grounding-dino"
    score_min: Unit = 0.3
    reduction: Literal["mean", "max"] = "mean"


class GroundingDinoPyOptions(Options):
    """The detector ``groundingdino-py``: the original package with its own checkpoints.

    Args:
        config: name of a configuration inside the package, or a YAML file of ours.
        weights: ``.pth`` file.
        text_encoder: Hub id or local folder of the BERT model that reads the prompt.
        revision: of the text encoder.
        score_min: boxes with no phrase above it are not given.
        reduction: how a phrase's score follows from those of its tokens.

    """

    name: Literal["groundingdino-py"] = "groundingdino-py"
    config: str = "GroundingDINO_SwinT_OGC"
    weights: Path
    text_encoder: str = "google-bert/bert-base-uncased"
    revision: str | None = None
    score_min: Unit = 0.3
    reduction: Literal["mean", "max"] = "mean"


class Owlv2Options(_Checkpoint):
    """The detector ``owlv2``: each phrase is asked for by itself.

    Args:
        score_min: boxes with no phrase above it are not given.

    """

    name: Literal["owlv2"] = "owlv2"
    score_min: Unit = 0.2


class Sam3Options(_Checkpoint):
    """The detector ``sam3``: takes phrases and gives masks, so that no segmenter follows.

    Args:
        score_min: boxes with no phrase above it are not given.

    """

    name: Literal["sam3"] = "sam3"
    score_min: Unit = 0.5


class SamOptions(_Checkpoint):
    """The segmenter ``sam``: SAM and SAM-HQ checkpoints."""

    name: Literal["sam"] = "sam"


class Sam2Options(_Checkpoint):
    """The segmenter ``sam2``: SAM 2 and 2.1 checkpoints."""

    name: Literal["sam2"] = "sam2"


class SegmentAnythingOptions(Options):
    """The segmenter ``segment-anything``: the original package with its own checkpoints.

    Args:
        architecture: which of the package's models the weights belong to.
        weights: ``.pth`` file.

    """

    name: Literal["segment-anything"] = "segment-anything"
    architecture: Literal["vit_b", "vit_l", "vit_h"] = "vit_b"
    weights: Path


class SimilarityOptions(_Checkpoint):
    """A CLIP or SigLIP model that compares each crop with its phrase."""


class DuplicateOptions(Options):
    """When masks of one picture say the same thing.

    Args:
        mask_iou: a mask overlapping a better one by this much or more is its duplicate.
        containment: a mask of which this share or more lies within a better one of the same phrase is contained in it.
        group_members: a mask that contains this many or more others of the same phrase is a group.
        groups: what becomes of groups: ``drop`` them, or ``keep`` them, marked as crowds.

    """

    mask_iou: Unit = 0.8
    containment: Unit = 0.9
    group_members: int = Field(default=2, ge=2)
    groups: Literal["drop", "keep"] = "drop"


class CleaningOptions(Options):
    """What is mended in a mask.

    Args:
        island_share: parts with less than this share of the mask's area are removed.
        hole_share: holes with less than this share of the mask's area are filled.
        smooth_px: radius of the disc that opens and closes the mask; 0 leaves its outline.

    """

    island_share: Unit = 0.05
    hole_share: Unit = 0.05
    smooth_px: int = Field(default=0, ge=0)


class FilterOptions(Options):
    """What a detection must reach to stay; 0, or 1 for the largest share, lets everything pass.

    Args:
        detection_min: the detector's confidence.
        predicted_iou_min: the segmenter's estimate.
        stability_min: of the mask against its threshold.
        similarity_min: of crop and phrase.
        cleaning_iou_min: of the mask before and after cleaning.
        area_share_min: share of the picture that the mask covers.
        box_share_max: share of the picture that the box covers.

    """

    detection_min: Unit = 0.0
    predicted_iou_min: Unit = 0.0
    stability_min: Unit = 0.0
    similarity_min: Unit = 0.0
    cleaning_iou_min: Unit = 0.5
    area_share_min: Unit = 0.0
    box_share_max: Unit = 0.95


class LinkOptions(Options):
    """Which detections a phrase takes.

    Args:
        prompt: whether the detector is given the list of phrases or the whole caption.
        score_min: a phrase takes no detection that it scores lower.
        rival_share: nor one that it scores lower than this share of what a phrase for something else gives it; a plural
            takes none that it scores lower than this share of its best one, either.
        margin: phrases that may take more than they name, or the same ones, take the best only if every other choice
            has a sum of scores that is lower by more than this.

    """

    prompt: Literal["phrases", "caption"] = "phrases"
    score_min: Unit = 0.3
    rival_share: Unit = 0.7
    margin: Unit = 0.1


CaptionerOptions = Annotated[GivenOptions | ImageTextToTextOptions, Field(discriminator="name")]
DetectorOptions = Annotated[
    GroundingDinoOptions | GroundingDinoPyOptions | Owlv2Options | Sam3Options, Field(discriminator="name")
]
SegmenterOptions = Annotated[SamOptions | Sam2Options | SegmentAnythingOptions, Field(discriminator="name")]


class GroundingOptions(Options):
    """How models turn a picture and its words into objects and links.

    Args:
        captioner: describes pictures that have no description.
        recaption: whether it describes those as well that have one.
        detector: finds the phrases.
        segmenter: cuts out what the detector found; None where that gives masks itself.
        similarity: compares crops with phrases; None leaves it.
        duplicates: what counts as one thing found twice.
        cleaning: what is mended in masks; None leaves them as they come.
        filters: what a detection must reach.
        links: which detections a phrase takes.
        dtype: of weights and activations.

    """

    captioner: CaptionerOptions = GivenOptions()
    recaption: bool = False
    detector: DetectorOptions
    segmenter: SegmenterOptions | None = None
    similarity: SimilarityOptions | None = None
    duplicates: DuplicateOptions = DuplicateOptions()
    cleaning: CleaningOptions | None = CleaningOptions()
    filters: FilterOptions = FilterOptions()
    links: LinkOptions = LinkOptions()
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _check_captioner(self) -> GroundingOptions:
        if self.recaption and isinstance(self.captioner, GivenOptions):
            raise ValueError("recaption asks for new descriptions, but captioner given writes none; name another")
        return self

    @model_validator(mode="after")
    def _check_masks(self) -> GroundingOptions:
        if isinstance(self.detector, Sam3Options) == (self.segmenter is not None):
            raise ValueError(
                "sam3 gives masks itself; leave the segmenter out"
                if self.segmenter is not None
                else f"detector {self.detector.name} gives boxes only; name a segmenter"
            )
        return self

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
            names = _FILE_OPTIONS & type(part).model_fields.keys() if isinstance(part, Options) else ()
            update = {option: type(getattr(part, option))(change(getattr(part, option))) for option in names}
            parts[name] = part.model_copy(update=update) if update else part
        return self.model_copy(update=parts)
