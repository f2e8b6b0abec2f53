"""The exchangeable models by name. Owns their registries and the packages that each needs beside the required ones."""

from __future__ import annotations

from collections.abc import Mapping

from datasetkit.runtime.packages import GROUNDINGDINO, SEGMENT_ANYTHING, TORCHVISION, Package
from datasetkit.runtime.registry import Registry

CAPTIONERS = Registry(
    "captioner",
    {"image-text-to-text": "datasetkit.annotation.captioners.image_text_to_text:ImageTextToTextCaptioner"},
)
DETECTORS = Registry(
    "detector",
    {
        "grounding-dino": "datasetkit.annotation.detectors.grounding_dino:GroundingDinoDetector",
        "groundingdino-py": "datasetkit.annotation.detectors.groundingdino_py:GroundingDinoPyDetector",
        "owlv2": "datasetkit.annotation.detectors.owlv2:Owlv2Detector",
    },
)
SEGMENTERS = Registry(
    "segmenter",
    {
        "sam": "datasetkit.annotation.segmenters.sam:SamSegmenter",
        "sam2": "datasetkit.annotation.segmenters.sam2:Sam2Segmenter",
        "segment-anything": "datasetkit.annotation.segmenters.segment_anything:SegmentAnythingSegmenter",
    },
)
CROP_SCORERS = Registry("similarity", {"image-text": "datasetkit.annotation.similarity:ImageTextCropScorer"})
GROUNDERS = Registry("grounder", {"sam3": "datasetkit.annotation.grounders.sam3:Sam3Grounder"})

PACKAGES: Mapping[str, tuple[Package, ...]] = {
    "groundingdino-py": (TORCHVISION, GROUNDINGDINO),
    "sam2": (TORCHVISION,),
    "sam3": (TORCHVISION,),
    "segment-anything": (TORCHVISION, SEGMENT_ANYTHING),
}
