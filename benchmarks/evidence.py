"""Objects whose evidence tokens differ if tokens are spread over whole tiles, as up to 0.1, for SmolVLM-2.2B.

    python -m benchmarks.evidence [--splits val2017 train2017]

Tiles have 384 px and patches 14: a tower sees 378 px. Masks are coco_mini's without crowds, and evidence is binary.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections import Counter
from types import SimpleNamespace

import numpy as np
import torch
from pycocotools.coco import COCO
from transformers import Idefics3Config, Idefics3ImageProcessorPil

from benchmarks.coco_copies import coco_mini
from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.geometry import Tower, View
from datasetkit.hi_scoring.scores.formulas.binarise import object_tokens
from datasetkit.options.heads import ScoreOptions

SETTINGS = Idefics3ImageProcessorPil(size={"longest_edge": 1536}, max_image_size={"longest_edge": 384})
PROCESSOR = SimpleNamespace(image_processor=SETTINGS, image_seq_len=81)
CONFIG = Idefics3Config(vision_config={"image_size": 384, "patch_size": 14}, scale_factor=3)


def main() -> None:
    """Print the counts over all views of the image of each mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", nargs="+", default=["val2017", "train2017"])
    arguments = parser.parse_args()
    found: Counter[str] = Counter()
    for split in arguments.splits:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(coco_mini() / "annotations" / f"instances_{split}.json"))
        for image in coco.imgs.values():
            size_hw = (image["height"], image["width"])
            views = family_of(CONFIG).image_tokens(PROCESSOR, CONFIG, size_hw).views
            for annotation in coco.loadAnns(coco.getAnnIds(image["id"], iscrowd=False)):
                mask = coco.annToMask(annotation).astype(bool)[None]
                changed = [
                    view.name for view in views if (evidence(view, mask) != evidence(spread(view, size_hw), mask)).any()
                ]
                found.update(["objects", *changed, *["any view"] * bool(changed)])
    for name in ("tiles", "global", "any view"):
        print(f"{name}: {found[name]} of {found['objects']} objects ({found[name] / found['objects']:.0%})")


def spread(view: View, size_hw: tuple[int, int]) -> View:
    """Spread the tokens evenly over the whole image, as versions up to 0.2 did."""
    return Tower(view.tokens.shape, 1, view.tokens.shape).squash(view.name, view.tokens, size_hw)


def evidence(view: View, mask: np.ndarray) -> torch.Tensor:
    """Return the tokens of an object (1, H, W), shape (1, rows, columns)."""
    return object_tokens(torch.from_numpy(view.coverage(mask)), ScoreOptions().coverage_min)


if __name__ == "__main__":
    main()
