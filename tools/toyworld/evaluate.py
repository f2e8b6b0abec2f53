"""Evaluation of the shipped models: ``python -m tools.toyworld.evaluate``.

Prints all metrics of the model cards, in about two minutes on two idle cores; ``--cards`` writes them to the cards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.core.detections import Query
from datasetkit.core.errors import UnusableError
from datasetkit.options.models import GroundingDinoOptions, SamOptions
from datasetkit.runtime.checkpoints import NAMES, weights_folder
from datasetkit.toyworld.scenes import Split
from tools.toyworld.evaluation.detections import judge_detector
from tools.toyworld.evaluation.recipe import EvaluationRecipe
from tools.toyworld.evaluation.segmentations import judge_segmenter
from tools.toyworld.evaluation.texts import Vlm, judge_vlm
from tools.toyworld.model_cards import METRICS_FILE, write_card
from tools.toyworld.models.vlm import LIST_PROMPT
from tools.toyworld.train import positive

JUDGES: dict[str, Callable[[str, EvaluationRecipe], Mapping[str, object]]] = {
    "detector": judge_detector,
    "segmenter": judge_segmenter,
    "vlm": judge_vlm,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate models and print the metrics."""
    parser = argparse.ArgumentParser(prog="python -m tools.toyworld.evaluate", description=__doc__)
    parser.add_argument("models", nargs="*", help=f"models to evaluate, of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--weights", type=Path, default=weights_folder(), help="folder with one subfolder per model")
    parser.add_argument("--cards", type=Path, help="write metrics next to the weights, and model cards to this folder")
    parser.add_argument("--count", type=positive, help="number of scenes, to try the command without writing anything")
    parser.add_argument(
        "--threads", type=positive, default=torch.get_num_threads(), help="torch threads (default: all)"
    )
    options = parser.parse_args(arguments)
    names = options.models or list(NAMES)
    for name in names:
        if name not in NAMES or not (options.weights / name).is_dir():
            parser.error(f"no model {name!r} in {options.weights}; known: {', '.join(NAMES)}")
    torch.set_num_threads(options.threads)
    console = Console(highlight=False, soft_wrap=True)
    recipe = EvaluationRecipe.load().limited(options.count)
    for name in names:
        folder = options.weights / name
        figures = JUDGES[name](str(folder), recipe)
        console.print(f"{name}: {json.dumps(figures, indent=2)}")
        if options.cards and options.count is None:
            (folder / METRICS_FILE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            write_card(name, folder, options.cards)
    if set(names) == set(NAMES):
        console.print(f"all three loaded and one scene annotated in {_first_scene_seconds(options.weights):.2f} s")
    return 0


def _first_scene_seconds(weights: Path) -> float:
    """Return the seconds for loading all three models and for captioning, detecting and segmenting one scene."""
    example = next(EvaluationRecipe.load().limited(1).examples(Split.TEST))
    began = time.perf_counter()
    caption = Vlm(str(weights / "vlm")).answer([example.image], [LIST_PROMPT], 48)[0]
    phrases = [phrase.strip(" .") for phrase in caption.replace(" and ", ", ").split(",") if phrase.strip(" .")]
    detector = GroundingDinoDetector(GroundingDinoOptions(model=str(weights / "detector"), score_min=0.0))
    found = detector.detect([example.image], [Query.of_phrases(phrases)])[0]
    if isinstance(found, UnusableError):
        raise found
    boxes = found.boxes_xyxy[found.scores.argmax(0)]
    segmenter = SamSegmenter(SamOptions(model=str(weights / "segmenter")))
    segmenter.segment([example.image], [boxes])
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
