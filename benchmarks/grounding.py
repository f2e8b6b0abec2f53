"""Quality of grounding: toyworld's models find the objects that descriptions name, on scenes not used for any choice.

    python -m benchmarks.grounding [--count 500] [--size-px 128] [--split test] [--set links.margin=.2] [--errors]

Gold links are the pairs of a noun phrase (without pronouns) and an object that it names. A predicted link is right if
its phrase overlaps the gold phrase and its mask has an IoU of at least 0.5 with that of the object, each object once
per phrase. Precision is the share of right links among the predicted, recall the share of gold pairs found, IoU the
mean over right links. The rows show where links are lost:

- end to end: only the image and its description are given;
- perfect boxes: the detector is replaced by the true boxes, each with score 1 for the phrases that name it, else 0;
- perfect masks: these boxes with the true masks, so that only phrases and alignment can fail.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import yaml
from PIL import Image

from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.tasks import Annotator
from datasetkit.core.detections import Detections, FloatArray, ModelIdentity, Query, Segment
from datasetkit.core.ledger import Drop
from datasetkit.core.mask import Mask, mask_iou
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Phrase, Record
from datasetkit.options import GroundingOptions, ToyworldOptions
from datasetkit.options.build import Placement
from datasetkit.options.presets import preset
from datasetkit.pipeline.models import load_segmenter, model_annotator
from datasetkit.sources.toyworld import PRONOUN, ToyworldSource
from datasetkit.toyworld.scenes import Split

IOU_MIN = 0.5
BATCH = 16


@dataclass
class Counts:
    """Sums over scenes, and the errors in words."""

    gold: int = 0
    predicted: int = 0
    right: int = 0
    ious: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """One line of the table."""
        precision, recall = self.right / max(self.predicted, 1), self.right / max(self.gold, 1)
        return f"{name:<15}{precision:>11.3f}{recall:>9.3f}{np.mean(self.ious or [np.nan]):>11.3f}{self.predicted:>9}"


class TrueBoxes:
    """A detector that knows the answers: the true boxes of each image, found by its pixels."""

    identities: tuple[ModelIdentity, ...] = ()

    def __init__(self, golds: Mapping[bytes, Record]) -> None:
        self._golds = golds

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections]:
        """Return every true box, with score 1 for the phrases that name it."""
        return [self._answer(self._golds[image.tobytes()], query) for image, query in zip(images, queries, strict=True)]

    def _answer(self, gold: Record, query: Query) -> Detections:
        named: dict[str, set[int]] = {}
        for phrase in gold.phrases:
            named.setdefault(phrase.text, set()).update(phrase.object_ids)
        boxes = np.array([item.box_xywh for item in gold.objects], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]
        scores = [[float(item.id in named.get(text, ())) for text in query.phrases] for item in gold.objects]
        return Detections(boxes, np.array(scores, dtype=np.float64).reshape(len(gold.objects), len(query.spans)))


class TrueMasks:
    """A segmenter that knows the answers: the true mask of each true box, found by the image's pixels."""

    identities: tuple[ModelIdentity, ...] = ()

    def __init__(self, golds: Mapping[bytes, Record]) -> None:
        self._golds = golds

    def segment(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]) -> list[list[Segment]]:
        """Return the masks of the requested boxes."""
        return [
            self._answer(self._golds[image.tobytes()], boxes) for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]

    def _answer(self, gold: Record, boxes: FloatArray) -> list[Segment]:
        masks: dict[tuple[float, ...], Mask] = {}
        for item in gold.objects:
            left, top, width, height = item.box_xywh
            masks[left, top, left + width, top + height] = item.mask
        return [Segment(masks[tuple(box)], 1.0, 1.0) for box in boxes.tolist()]


def pair(gold: Sequence[Phrase], found: Sequence[Phrase]) -> Iterator[tuple[Phrase | None, Phrase | None]]:
    """Pair each gold phrase with the free phrase that shares most characters with it; the rest stays unpaired."""
    free = list(found)
    for phrase in gold:
        best = max(free, key=lambda item: min(item.end, phrase.end) - max(item.start, phrase.start), default=None)
        if best is None or min(best.end, phrase.end) <= max(best.start, phrase.start):
            yield phrase, None
            continue
        free.remove(best)
        yield phrase, best
    for phrase in free:
        yield None, phrase


def count(counts: Counts, gold: Record, found: Record) -> None:
    """Add one scene to the sums."""
    truth = {item.id: item.mask for item in gold.objects}
    masks = {item.id: item.mask for item in found.objects}
    nouns = [phrase for phrase in gold.phrases if phrase.reason != PRONOUN]
    for wanted, phrase in pair(nouns, found.phrases):
        gold_ids = wanted.object_ids if wanted else ()
        found_ids = phrase.object_ids if phrase else ()
        counts.gold += len(gold_ids)
        counts.predicted += len(found_ids)
        ious = mask_iou([masks[item] for item in found_ids], [truth[item] for item in gold_ids])
        right = matches(ious)
        counts.right += len(right)
        counts.ious += right
        if len(right) < max(len(gold_ids), len(found_ids)):
            counts.errors.append(
                f"{gold.record_id}: {(wanted or phrase).text!r} of {len(gold_ids)} got {len(found_ids)}, "
                f"{len(right)} right; {phrase.status.value if phrase else 'not found'}, "
                f"{phrase.reason if phrase else ''}, score {phrase.score if phrase else None}"
            )


def matches(ious: FloatArray) -> list[float]:
    """Match found (rows) with true masks (columns), the best pairs first; return the IoU of each match."""
    right = []
    ious = ious.copy()
    while ious.size and ious.max() >= IOU_MIN:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        right.append(float(ious[row, column]))
        ious[row, :] = ious[:, column] = -1.0
    return right


def run(annotator: Annotator, readings: Sequence[Reading]) -> Counts:
    """Annotate all scenes and count."""
    counts = Counts()
    for start in range(0, len(readings), BATCH):
        batch = readings[start : start + BATCH]
        for reading, answer in zip(batch, annotator.annotate(batch), strict=True):
            if isinstance(answer, Drop):
                counts.errors.append(f"{answer.item_id}: {answer.reason}")
                count(counts, reading.record, replace(reading.record, objects=(), phrases=(), questions=()))
            else:
                count(counts, reading.record, answer.record)
    return counts


def annotators(options: GroundingOptions, readings: Sequence[Reading]) -> dict[str, Annotator]:
    """Return the three annotators, by name."""
    placement = Placement(device="cpu")
    golds = {reading.pixels.tobytes(): reading.record for reading in readings}
    segmenters = {"perfect boxes": load_segmenter(options, "cpu"), "perfect masks": TrueMasks(golds)}
    oracles = {
        name: GroundedAnnotator(
            options,
            finder=NounPhraseFinder(),
            grounder=BoxesThenMasks(
                TrueBoxes(golds),
                segmenter,
                detector_batch=BATCH,
                segmenter_batch=BATCH,
            ),
        )
        for name, segmenter in segmenters.items()
    }
    return {
        "end to end": model_annotator(options, placement, NounPhraseFinder(), describes=False, key_max=None),
        **oracles,
    }


def main() -> None:
    """Print the table, and the errors of the first row if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--split", default="test", choices=[split.value for split in Split])
    parser.add_argument("--set", action="append", default=[], help="grounding option, such as links.margin=.2")
    parser.add_argument("--errors", action="store_true")
    arguments = parser.parse_args()
    changes = {name: yaml.safe_load(text) for name, text in (item.split("=") for item in arguments.set)}
    options = GroundingOptions.model_validate(preset("toyworld", changes))
    scenes = ToyworldOptions(count=arguments.count, scene_split=arguments.split, size_px=arguments.size_px)
    source = ToyworldSource(scenes)
    readings = [source.read(entry) for entry in source.entries()]
    print(f"{len(readings)} scenes of {arguments.size_px} px, split {arguments.split}")
    print(f"{'':<15}{'precision':>11}{'recall':>9}{'mask IoU':>11}{'links':>9}")
    for name, annotator in annotators(options, readings).items():
        counts = run(annotator, readings)
        print(counts.row(name), flush=True)
        for error in counts.errors if arguments.errors and name == "end to end" else []:
            print(f"  {error}")
    print(f"{counts.gold} gold pairs")


if __name__ == "__main__":
    main()
