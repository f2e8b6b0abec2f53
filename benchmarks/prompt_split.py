"""Change of detections when a prompt is split: toyworld's detector on held-out scenes.

python -m benchmarks.prompt_split [--scenes N] [--absent N]

The prompt of each scene names all of its objects and some absent ones. It is used as a whole, and again with a smaller
max_text_len, so that it is split. Printed for phrases of present and absent objects: the difference between the scores
of their best boxes, and the share of best boxes that change (IoU below 0.5); and for present ones the share of correct
best boxes (IoU of 0.5 or more with an object of that name).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import logging

from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.options.models import GroundingDinoOptions
from datasetkit.runtime.checkpoints import resolve
from datasetkit.toyworld.descriptions import absent_phrases
from datasetkit.toyworld.domain import BASE
from datasetkit.toyworld.referring import attributes_of
from datasetkit.toyworld.scenes import Split, stream
from tools.toyworld.evaluation.detections import box_iou
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example, batched

LIMITS = (32, 24, 16, 8)
IOU_MIN = 0.5
BATCH = 20


@dataclass(frozen=True)
class Asked:
    """A scene, phrases for every object of it and for some absent ones, and the ids of the objects that each names."""

    example: Example
    query: Query
    ids: tuple[tuple[int, ...], ...]


def ask(example: Example, absent: int) -> Asked:
    """Return the query of a scene."""
    named: dict[str, tuple[int, ...]] = {}
    for item in example.scene.objects:
        attributes = attributes_of(item)
        phrase = BASE.noun_phrase(attributes, plural=False, determiner="a")
        named[phrase] = attributes.extension(example.scene)
    generator = stream(example.scene.seed, "prompt_split")
    for phrase_of_none in absent_phrases(example.scene, BASE, generator, absent):
        named[phrase_of_none.text] = ()
    return Asked(example, Query.of_phrases(tuple(named)), tuple(named.values()))


def detector_of(folder: Path, max_text_len: int) -> GroundingDinoDetector:
    """Load a copy of the shipped detector that reads prompts of at most this many tokens."""
    copy = folder / str(max_text_len)
    shutil.copytree(resolve("toyworld:detector"), copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"max_text_len": max_text_len}), encoding="utf-8")
    return GroundingDinoDetector(GroundingDinoOptions(model=str(copy), score_min=0.0))


def answers(detector: GroundingDinoDetector, asked: Sequence[Asked]) -> list[Detections]:
    """Return the detections of each scene."""
    found: list[Detections] = []
    for group in batched(asked, BATCH):
        for result in detector.detect([item.example.image for item in group], [item.query for item in group]):
            if isinstance(result, UnusableError):
                raise result
            found.append(result)
    return found


def best(found: Detections, phrase: int) -> tuple[float, np.ndarray]:
    """Return score and box, shape (1, 4), of the best box of a phrase."""
    place = int(found.scores[:, phrase].argmax())
    return float(found.scores[place, phrase]), found.boxes_xyxy[[place]]


def right(example: Example, box: np.ndarray, ids: tuple[int, ...]) -> bool:
    """Return whether a box belongs to an object of these ids."""
    return bool((box_iou(box, example.boxes_xyxy[list(ids)]) >= IOU_MIN).any())


def compare(asked: Sequence[Asked], whole: Sequence[Detections], parts: Sequence[Detections]) -> str:
    """Compare detections of split prompts with those of whole ones."""
    changes: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
    hits: list[tuple[bool, bool]] = []
    for item, one, other in zip(asked, whole, parts, strict=True):
        for number, ids in enumerate(item.ids):
            (score, box), (score_split, box_split) = best(one, number), best(other, number)
            changes[bool(ids)].append((abs(score - score_split), bool(box_iou(box, box_split)[0, 0] < IOU_MIN)))
            if ids:
                hits.append((right(item.example, box_split, ids), right(item.example, box, ids)))
    split = np.mean([bool(found.notices) for found in parts])
    present, absent = (np.array(changes[kind], dtype=float) for kind in (True, False))
    right_split, right_whole = np.mean(hits, axis=0)
    return (
        f"{split:6.1%} | {present[:, 0].mean():13.4f} {present[:, 0].max():.3f} {present[:, 1].mean():7.1%} "
        f"{right_split:7.1%} ({right_whole:.1%}) | "
        f"{absent[:, 0].mean():12.4f} {absent[:, 0].max():.3f} {absent[:, 1].mean():7.1%}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_split", description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="number of scenes")
    parser.add_argument("--absent", type=int, default=4, help="phrases of absent objects in each prompt, at least 1")
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    examples = EvaluationRecipe.load().limited(options.scenes).examples(Split.TEST)
    asked = [ask(example, options.absent) for example in examples]
    options = GroundingDinoOptions(model="toyworld:detector", score_min=0.0)
    whole = answers(GroundingDinoDetector(options), asked)
    if any(found.notices for found in whole):
        parser.error(f"{options.absent} absent phrases make prompts that do not fit; give fewer")
    print(f"{len(asked)} scenes, {sum(len(item.ids) for item in asked)} phrases; max_text_len 64 splits none")
    print("max_text_len  split | present: mean  max  changed  right (unsplit) | absent: mean  max  changed")
    with tempfile.TemporaryDirectory() as folder:
        for limit in LIMITS:
            parts = answers(detector_of(Path(folder), limit), asked)
            print(f"{limit:12d} {compare(asked, whole, parts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
