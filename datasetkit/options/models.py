"""Options of the exchangeable models of a build, and the registries that name them. Owns names, ranges and defaults.

The options of a model are the first argument of its class in ``annotation``. A new model is one class of options here
and one line in its registry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SerializeAsAny

from datasetkit.options.base import Options, PartOf, PartOptions, Unit
from datasetkit.runtime.checkpoints import check_shipped
from datasetkit.runtime.packages import GROUNDINGDINO, SEGMENT_ANYTHING, TORCHVISION, Package
from datasetkit.runtime.registry import Builtin, Registry


class CheckpointOptions(Options):
    """A checkpoint in the format of transformers."""

    model: Annotated[str, AfterValidator(check_shipped)] = Field(min_length=1)
    """Hub id, local folder, or toyworld:NAME."""
    revision: str | None = None
    """Commit, tag or branch on the Hub.  [default: the newest]"""


class GivenOptions(PartOptions):
    """The captioner ``given``: descriptions come from the source."""

    name: Literal["given"] = "given"


class ImageTextToTextOptions(CheckpointOptions, PartOptions):
    """The captioner ``image-text-to-text``: any chat model of that kind describes the image."""

    name: Literal["image-text-to-text"] = "image-text-to-text"
    prompt: str = Field(default="Describe the image.", min_length=1)
    """Captioner prompt."""
    max_side_px: int | None = Field(default=None, ge=16)
    """Longest side of the image that the captioner reads, in pixels: the fewer, the faster, and the less it sees.
    [default: as the model's processor has it]"""
    max_new_tokens: int = Field(default=128, ge=1)
    """Longest description, in tokens."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Sampling temperature; 0 takes the most likely token each time."""
    seed: int = Field(default=0, ge=0)
    """Sampling seed; each image's samples depend on it and on the image alone."""


class DetectorOptions(PartOptions):
    """Options that all detectors of this package share."""

    score_min: Unit = 0.3
    """Lowest score of a box's best phrase."""


class TokenScoreOptions(DetectorOptions):
    """Options of detectors that score tokens."""

    reduction: Literal["mean", "max"] = "mean"
    """How the scores of a phrase's tokens make its score."""


class GroundingDinoOptions(CheckpointOptions, TokenScoreOptions):
    """The detector ``grounding-dino``: Grounding DINO and MM-Grounding DINO checkpoints."""

    name: Literal["grounding-dino"] = "grounding-dino"


class GroundingDinoPyOptions(TokenScoreOptions):
    """The detector ``groundingdino-py``: the original package with its own checkpoints."""

    name: Literal["groundingdino-py"] = "groundingdino-py"
    config: str = "GroundingDINO_SwinT_OGC"
    """Name of a configuration inside the package, or a YAML file of its options."""
    weights: Path
    """Weights as a .pth file."""
    text_encoder: str = "google-bert/bert-base-uncased"
    """Hub id or local folder of the BERT model that reads the prompt."""
    revision: str | None = None
    """Commit, tag or branch of the text encoder on the Hub.  [default: the newest]"""


class Owlv2Options(CheckpointOptions, DetectorOptions):
    """The detector ``owlv2``: each phrase is a query by itself."""

    name: Literal["owlv2"] = "owlv2"
    score_min: Unit = 0.2
    """Lowest score of a box's best phrase."""


class Sam3Options(CheckpointOptions, DetectorOptions):
    """The grounder ``sam3``: takes phrases and returns masks, so that no segmenter follows."""

    name: Literal["sam3"] = "sam3"
    score_min: Unit = 0.5
    """Lowest score of a box's best phrase."""


class SamOptions(CheckpointOptions, PartOptions):
    """The segmenter ``sam``: SAM and SAM-HQ checkpoints."""

    name: Literal["sam"] = "sam"


class Sam2Options(CheckpointOptions, PartOptions):
    """The segmenter ``sam2``: SAM 2 and 2.1 checkpoints."""

    name: Literal["sam2"] = "sam2"


class SegmentAnythingOptions(PartOptions):
    """The segmenter ``segment-anything``: the original package with its own checkpoints."""

    name: Literal["segment-anything"] = "segment-anything"
    architecture: Literal["vit_b", "vit_l", "vit_h"] = "vit_b"
    """Model of the package that the weights belong to."""
    weights: Path
    """Weights as a .pth file."""


class SimilarityOptions(CheckpointOptions):
    """A CLIP or SigLIP model that compares each crop with its phrase."""


class NounPhraseOptions(PartOptions):
    """The phrase finder ``noun-phrases``: a part-of-speech tagger and a grammar for English."""

    name: Literal["noun-phrases"] = "noun-phrases"


def _ours(path: str, options: type[PartOptions], *packages: Package) -> Builtin:
    return Builtin(f"datasetkit.annotation.{path}", options, packages)


CAPTIONERS = Registry(
    "captioner",
    {
        "given": Builtin("datasetkit.options.models:GivenOptions", GivenOptions),
        "image-text-to-text": _ours("captioners.image_text_to_text:ImageTextToTextCaptioner", ImageTextToTextOptions),
    },
)
DETECTORS = Registry(
    "detector",
    {
        "grounding-dino": _ours("detectors.grounding_dino:GroundingDinoDetector", GroundingDinoOptions),
        "groundingdino-py": _ours(
            "detectors.groundingdino_py:GroundingDinoPyDetector", GroundingDinoPyOptions, TORCHVISION, GROUNDINGDINO
        ),
        "owlv2": _ours("detectors.owlv2:Owlv2Detector", Owlv2Options),
    },
)
GROUNDERS = Registry("grounder", {"sam3": _ours("grounders.sam3:Sam3Grounder", Sam3Options, TORCHVISION)})
SEGMENTERS = Registry(
    "segmenter",
    {
        "sam": _ours("segmenters.sam:SamSegmenter", SamOptions),
        "sam2": _ours("segmenters.sam2:Sam2Segmenter", Sam2Options, TORCHVISION),
        "segment-anything": _ours(
            "segmenters.segment_anything:SegmentAnythingSegmenter",
            SegmentAnythingOptions,
            TORCHVISION,
            SEGMENT_ANYTHING,
        ),
    },
)
PHRASE_FINDERS = Registry("phrase finder", {"noun-phrases": _ours("phrases:NounPhraseFinder", NounPhraseOptions)})
FILTERS = Registry("filter", {})
# By the part of a preset.
PART_REGISTRIES = {"captioner": (CAPTIONERS,), "detector": (DETECTORS, GROUNDERS), "segmenter": (SEGMENTERS,)}

Captioner = Annotated[SerializeAsAny[PartOptions], PartOf(PART_REGISTRIES["captioner"])]
Detector = Annotated[SerializeAsAny[PartOptions], PartOf(PART_REGISTRIES["detector"])]
Segmenter = Annotated[SerializeAsAny[PartOptions], PartOf(PART_REGISTRIES["segmenter"])]
PhraseFinder = Annotated[SerializeAsAny[PartOptions], PartOf((PHRASE_FINDERS,))]
Filter = Annotated[SerializeAsAny[PartOptions], PartOf((FILTERS,))]
