"""Judges the shipped models: ``python -m datasetkit.toyworld.evaluate``.

Prints every figure, and writes ``metrics.json`` beside the weights and a model card for each, both from what was
measured.
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

from datasetkit.toyworld.checkpoints import NAMES, weights_folder
from datasetkit.toyworld.evaluation.detections import Detector, judge_detector
from datasetkit.toyworld.evaluation.recipe import EvaluationRecipe
from datasetkit.toyworld.evaluation.segmentations import Segmenter, judge_segmenter
from datasetkit.toyworld.evaluation.texts import Vlm, judge_vlm
from datasetkit.toyworld.model_cards import METRICS_FILE, write_card
from datasetkit.toyworld.models.vlm import LIST_PROMPT
from datasetkit.toyworld.scenes import Split

JUDGES: dict[str, Callable[[str, EvaluationRecipe], Mapping[str, object]]] = {
    "detector": judge_detector,
    "segmenter": judge_segmenter,
    "vlm": judge_vlm,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge models, print the figures and write them down."""
    parser = argparse.ArgumentParser(prog="python -m datasetkit.toyworld.evaluate", description=__doc__)
    parser.add_argument("models", nargs="*", default=NAMES, help="which models (default: all)")
    parser.add_argument("--weights", type=Path, default=weights_folder(), help="folder with a folder for each model")
    parser.add_argument("--cards", type=Path, help="folder for model cards (default: none are written)")
    parser.add_argument("--count", type=int, help="fewer scenes, to try the command; nothing is written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (default: all)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    console = Console(highlight=False, soft_wrap=True)
    recipe = EvaluationRecipe.load().limited(options.count)
    for name in options.models:
        folder = options.weights / name
        figures = JUDGES[name](str(folder), recipe)
        console.print(f"{name}: {json.dumps(figures, indent=2)}")
        if options.count is None:
            (folder / METRICS_FILE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            if options.cards:
                write_card(name, folder, options.cards)
    if set(options.models) == set(NAMES):
        console.print(f"all three loaded and one scene annotated in {_first_scene_seconds(options.weights):.2f} s")
    return 0


def _first_scene_seconds(weights: Path) -> float:
    """How long it takes to load all three models and to caption, detect and segment one scene."""
    example = next(EvaluationRecipe.load().limited(1).examples(Split.TEST))
    began = time.perf_counter()
    caption = Vlm(str(weights / "vlm")).answer([example.image], [LIST_PROMPT], 48)[0]
    phrases = [phrase.strip(" .") for phrase in caption.replace(" and ", ", ").split(",")]
    found = Detector(str(weights / "detector")).detect([example], [phrases])[0]
    boxes = found.boxes_xyxy[found.scores.argmax(0)]
    Segmenter(str(weights / "segmenter")).segment(example, boxes)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
