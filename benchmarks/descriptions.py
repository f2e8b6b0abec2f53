"""Growth of the time per record with its description, for unusual descriptions.

    python -m benchmarks.descriptions [--characters 100000] [--rounds 5]

Each kind of text is processed in two lengths, one twice the other, alternating within every round: cleaning, noun
phrases, links with objects, the row, statistics, the preview page and the sheet of samples. The median ratio of times
over rounds must be below 2.6: 2 is linear time, 4 is quadratic time. Short steps have more overhead than growth, so
kinds that take less than 50 ms at the greater length are not judged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.image import load_image
from datasetkit.core.mask import Mask
from datasetkit.core.record import EncodedImage, KeyObject, Provenance, Record
from datasetkit.core.schema import record_to_row
from datasetkit.export.card.samples import draw_sheet
from datasetkit.export.preview.cards import PreviewCards
from datasetkit.export.preview.page import write_preview
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.sources.texts import without_markup

MAX_RATIO, LEAST_SECONDS = 2.6, 0.05
SENTENCE = "a cat sits near two dogs and a red car. "


def repeated(text: str, last: str = "") -> Callable[[int], str]:
    """Return a function that repeats a short text up to a number of characters."""
    return lambda length: (text * (length // len(text) + 1))[: length - len(last)] + last


TEXTS: Mapping[str, Callable[[int], str]] = {
    "one letter": repeated("a"),
    "sentences": repeated(SENTENCE),
    "one word": repeated("cat "),
    "words without spaces": repeated("cat-"),
    "other words": lambda length: " ".join(f"w{number:06d}" for number in range(length // 8)),
    "plurals": repeated("blorfs "),
    "adjectives": repeated("red ", "car"),
    "joined adjectives": repeated("red and ", "red car"),
    "adverbs": repeated("very ", "car"),
    "participles": repeated("parked ", "car"),
    "counts": repeated("two of ", "cats"),
    "groups": repeated("a group of ", "people"),
    "possessors": repeated("a man's ", "hat"),
    "initials": repeated("t.", "vx"),
    "digits": repeated("1,"),
    "commas": repeated(","),
    "parentheses": repeated("()"),
    "apostrophes": repeated("'"),
    "line ends": repeated("\n", "cat"),
    "emoji": repeated("\N{GRINNING FACE}"),
    "combining marks": repeated("e\N{COMBINING ACUTE ACCENT}"),
    "markup": repeated("[/EN#1/a cat] <box>(1,2)"),
}


def record_of_noise() -> Record:
    """Return a record with objects of several categories and no description."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = EncodedImage(encode_jpeg(Image.fromarray(pixels)), "a.jpg", 32, 24)
    mask = np.zeros((24, 32), dtype=np.bool_)
    mask[4:12, 4:12] = True
    names = ("cat", "cat", "dog", "dog", "car", "person", "red ball", None)
    objects = tuple(KeyObject(number, Mask.from_array(mask), name) for number, name in enumerate(names))
    return Record("a", "a", image, None, Provenance("a.jpg", "unknown", "0" * 64), objects)


def seconds(record: Record, text: str, aligner: KnownObjectAligner, page: Path) -> float:
    """Return the processor time of everything that reads a description, in seconds."""
    start = time.process_time()
    whole = aligner.align(replace(record, description=without_markup(text) or None))
    pixels = load_image(record.image.data, record.image.name).pixels
    row = record_to_row(whole, encode_jpeg(draw_overlay(pixels, whole.key_objects)))
    counter = StatisticsCounter()
    counter.add_row("train", row)
    cards = PreviewCards()
    cards.add(whole)
    write_preview(cards, page, "page")
    draw_sheet([row])
    return time.process_time() - start


def main() -> int:
    """Print a line per kind of text; return 1 if one grows too fast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=100_000, help="shorter length; the other is twice as long")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    record, aligner, length = record_of_noise(), KnownObjectAligner(), arguments.characters
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        seconds(record, SENTENCE, aligner, page)
        for name, make in TEXTS.items():
            pairs = [
                (seconds(record, make(length), aligner, page), seconds(record, make(2 * length), aligner, page))
                for _ in range(arguments.rounds)
            ]
            ratio = statistics.median(longer / shorter for shorter, longer in pairs)
            shorter, longer = (statistics.median(times) for times in zip(*pairs, strict=True))
            is_judged = longer >= LEAST_SECONDS
            worst = max(worst, ratio if is_judged else 0.0)
            print(
                f"{name:22} {shorter:7.3f} s, {longer:7.3f} s, ratio {ratio:.2f}{'' if is_judged else ' (too short)'}"
            )
    print(f"worst ratio {worst:.2f}, at most {MAX_RATIO}")
    return int(worst > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
