"""Quality of the alignment of phrases with objects: the aligner against hand labels on captions of coco_mini.

python -m benchmarks.alignment [--half a|b] [--detections] [--errors] [--coco-mini DIR]

With ``--detections``, phrases are linked with perfect detections instead of objects of known categories: a detector
that knows the human boxes scores each phrase by what its noun may name; all later steps are as with any detector.

A predicted phrase answers for a labelled span if their head nouns overlap. Links are (span, instance) pairs,
micro-averaged over the spans that are labelled resolved: a resolvable span that is predicted ambiguous misses all of
its links, and links of a phrase that is labelled absent, or not labelled at all, are false. Spans labelled ambiguous
are scored separately: by the F1 of the status "ambiguous" over all phrases, and by the share of labelled candidates
among the predicted ones.

Intervals are 95 % percentile bootstraps over captions, whose links are not independent of each other. The figures of
half b are in ``export/card/quality.py``, from where cards and previews quote them: change them there, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.perfect_detections import link_detections
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.mask import Mask
from datasetkit.core.record import EncodedImage, KeyObject, Phrase, PhraseStatus, Provenance, Record

LABELS = Path(__file__).parent / "alignment_labels"
COCO_MINI = Path(__file__).resolve().parents[2] / "shared" / "coco_mini"

DRAWS, SEED = 10_000, 0

Align = Callable[[Record], tuple[Phrase, ...]]


class MissingInputError(Exception):
    """Labels or annotations are missing."""


@dataclass(frozen=True)
class Span:
    """A labelled head noun, characters [start, end) of its caption."""

    start: int
    end: int
    kind: str
    instances: frozenset[int]


@dataclass(frozen=True)
class Prediction:
    """A phrase with the span of its head and COCO annotation ids."""

    start: int
    end: int
    head: str
    status: PhraseStatus
    links: frozenset[int]
    candidates: frozenset[int]


@dataclass
class Counts:
    """Sums over the captions of one half, and the errors in words."""

    captions: int = 0
    spans: dict[str, int] = field(default_factory=lambda: {"resolved": 0, "ambiguous": 0, "absent": 0})
    links_labelled: int = 0
    links_predicted: int = 0
    links_right: int = 0
    links_on_ambiguous: int = 0
    ambiguous_predicted: int = 0
    ambiguous_right: int = 0
    candidates_labelled: int = 0
    candidates_found: int = 0
    links_by_caption: list[tuple[int, int, int]] = field(default_factory=list)  # labelled, predicted, right
    errors: list[str] = field(default_factory=list)

    @property
    def links(self) -> tuple[int, int, int]:
        """Links labelled, predicted and right so far."""
        return self.links_labelled, self.links_predicted, self.links_right


class CocoMini:
    """Captions and instances of coco_mini as records."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "annotations").is_dir():
            raise MissingInputError(f"coco_mini is not at {folder}; give --coco-mini or set DATASETKIT_COCO_MINI")
        self._captions: dict[int, dict[str, Any]] = {}
        self._images: dict[int, dict[str, Any]] = {}
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        self._categories: dict[int, str] = {}
        for split in ("train2017", "val2017"):
            captions = json.loads((folder / "annotations" / f"captions_{split}.json").read_text(encoding="utf-8"))
            instances = json.loads((folder / "annotations" / f"instances_{split}.json").read_text(encoding="utf-8"))
            self._captions |= {item["id"]: item for item in captions["annotations"]}
            self._images |= {item["id"]: item for item in instances["images"]}
            self._categories |= {item["id"]: item["name"] for item in instances["categories"]}
            for item in instances["annotations"]:
                self._annotations.setdefault(item["image_id"], []).append(item)

    def record(self, caption_id: int) -> tuple[Record, list[int]]:
        """Return the record of a caption, and the COCO annotation ids of its objects, indexed by object id."""
        caption = self._captions[caption_id]
        image = self._images[caption["image_id"]]
        size_hw = image["height"], image["width"]
        annotations = self._annotations.get(image["id"], [])
        objects = tuple(
            KeyObject(
                id=place,
                mask=Mask.from_coco(item["segmentation"], size_hw),
                category=self._categories[item["category_id"]],
                is_crowd=bool(item["iscrowd"]),
            )
            for place, item in enumerate(annotations)
        )
        record = Record(
            record_id=str(caption_id),
            image_id=str(image["id"]),
            # The aligner does not use pixels, so the image is not read.
            image=EncodedImage(b"unread", image["file_name"], image["width"], image["height"]),
            description=caption["caption"],
            source=Provenance(image["file_name"], "unknown", "0" * 64),
            objects=objects,
        )
        return record, [item["id"] for item in annotations]


def read_labels(half: str) -> list[dict[str, Any]]:
    """Read one half's label file."""
    path = LABELS / f"half_{half}.json"
    if not path.is_file():
        raise MissingInputError(f"no labels at {path}; they belong to the repository")
    return json.loads(path.read_text(encoding="utf-8"))


def align_known_objects(record: Record) -> tuple[Phrase, ...]:
    """Align a record by the categories of its objects."""
    return KnownObjectAligner().align(record).phrases


def predict(record: Record, annotation_ids: list[int], align: Align) -> list[Prediction]:
    """Align a record and return its phrases with COCO ids."""
    found = NounPhraseFinder().find(record.description or "")
    phrases = align(record)
    return [
        Prediction(
            start=noun.head_start,
            end=noun.end,
            head=noun.head,
            status=phrase.status,
            links=frozenset(annotation_ids[item] for item in phrase.object_ids),
            candidates=frozenset(annotation_ids[item.object_id] for item in phrase.candidates),
        )
        for noun, phrase in zip(found, phrases, strict=True)
    ]


def paired(spans: list[Span], predictions: list[Prediction]) -> Iterator[tuple[Span | None, Prediction | None]]:
    """Pair each span with the first unused phrase whose head overlaps it; the rest stays unpaired."""
    free = list(predictions)
    for span in spans:
        match = next((item for item in free if item.start < span.end and span.start < item.end), None)
        if match is not None:
            free.remove(match)
        yield span, match
    for item in free:
        yield None, item


def count_pair(counts: Counts, caption_id: int, span: Span | None, prediction: Prediction | None) -> None:
    """Add one pair to the sums."""
    links = prediction.links if prediction else frozenset()
    candidates = prediction.candidates if prediction else frozenset()
    is_ambiguous = prediction is not None and prediction.status is PhraseStatus.AMBIGUOUS
    kind = span.kind if span else "unlabelled"
    wanted = span.instances if span else frozenset()
    counts.ambiguous_predicted += is_ambiguous
    if kind == "ambiguous":
        counts.links_on_ambiguous += len(links)
        counts.ambiguous_right += is_ambiguous
        counts.candidates_labelled += len(wanted)
        counts.candidates_found += len(wanted & candidates)
        right = candidates == wanted
    else:
        counts.links_labelled += len(wanted)
        counts.links_predicted += len(links)
        counts.links_right += len(wanted & links)
        right = links == wanted and not is_ambiguous
    if not right:
        head = repr(prediction.head) if prediction else f"nothing at {[span.start, span.end] if span else ''}"
        status = prediction.status.value if prediction else "not found"
        counts.errors.append(
            f"caption {caption_id}: {head} is {status} {sorted(links | candidates)}, labelled {kind} {sorted(wanted)}"
        )


def run(half: str, coco: CocoMini, align: Align) -> Counts:
    """Score one half."""
    counts = Counts()
    for label in read_labels(half):
        record, annotation_ids = coco.record(label["caption_id"])
        spans = [
            Span(item["head"][0], item["head"][1], item["kind"], frozenset(item["instances"]))
            for item in label["spans"]
        ]
        counts.captions += 1
        for labelled in spans:
            counts.spans[labelled.kind] += 1
        before = counts.links
        for span, prediction in paired(spans, predict(record, annotation_ids, align)):
            count_pair(counts, label["caption_id"], span, prediction)
        labelled_links, predicted, right = (now - then for now, then in zip(counts.links, before, strict=True))
        counts.links_by_caption.append((labelled_links, predicted, right))
    return counts


def ratio(part: int, whole: int) -> float:
    """Divide; return NaN if the denominator is 0."""
    return part / whole if whole else float("nan")


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def interval(part: NDArray[np.int64], whole: NDArray[np.int64]) -> str:
    """Write the 95 % interval of a ratio of sums over captions, each of shape (captions,)."""
    chosen = np.random.default_rng(SEED).integers(0, len(part), (DRAWS, len(part)))
    low, high = np.percentile(part[chosen].sum(axis=1) / whole[chosen].sum(axis=1), [2.5, 97.5])
    return f"(95 % {low:.3f} to {high:.3f})"


def report(half: str, counts: Counts) -> None:
    """Print the metrics of one half."""
    precision = ratio(counts.links_right, counts.links_predicted)
    recall = ratio(counts.links_right, counts.links_labelled)
    status_precision = ratio(counts.ambiguous_right, counts.ambiguous_predicted)
    status_recall = ratio(counts.ambiguous_right, counts.spans["ambiguous"])
    spans = ", ".join(f"{number} {kind}" for kind, number in counts.spans.items())
    print(f"half {half}: {counts.captions} captions, {sum(counts.spans.values())} spans ({spans})")
    print(
        f"  links      {counts.links_labelled} labelled, {counts.links_predicted} predicted, {counts.links_right} right"
    )
    labelled, predicted, right = np.array(counts.links_by_caption).T
    print(
        f"             precision {precision:.3f} {interval(right, predicted)}"
        f"  recall {recall:.3f} {interval(right, labelled)}  F1 {f1(precision, recall):.3f}"
    )
    print(f"  ambiguous  {counts.ambiguous_predicted} predicted, {counts.ambiguous_right} right")
    print(
        f"             precision {status_precision:.3f}  recall {status_recall:.3f}"
        f"  F1 {f1(status_precision, status_recall):.3f}"
    )
    print(
        f"  candidates {counts.candidates_found} of {counts.candidates_labelled} found,"
        f" recall {ratio(counts.candidates_found, counts.candidates_labelled):.3f};"
        f" {counts.links_on_ambiguous} links on ambiguous spans, counted in neither"
    )


def main() -> int:
    """Score the requested halves and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["a", "b"], help="score one half only")
    parser.add_argument("--detections", action="store_true", help="link phrases with perfect detections")
    parser.add_argument("--errors", action="store_true", help="list each phrase that differs from its label")
    parser.add_argument("--coco-mini", type=Path, default=Path(os.environ.get("DATASETKIT_COCO_MINI", COCO_MINI)))
    options = parser.parse_args()
    align = link_detections if options.detections else align_known_objects
    try:
        coco = CocoMini(options.coco_mini)
        for half in [options.half] if options.half else ["a", "b"]:
            counts = run(half, coco, align)
            report(half, counts)
            for error in counts.errors if options.errors else []:
                print(f"  {error}")
    except MissingInputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
