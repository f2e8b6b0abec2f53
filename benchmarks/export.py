"""Speed of the shard writer by itself, from finished rows to files on disk.

    python benchmarks/export.py [--rows 2000] [--rounds 9]

It is compared, alternating within every round, with ``Dataset.from_generator(...).to_parquet`` on the same rows, and
with writing the bytes of the shards to one plain file, one piece per row, which is the limit. Times include the flush
to disk; hashing is timed separately. The median ratio over rounds must be at least 3 for the former and 0.5 for the
latter. These are ratios of speeds on one machine; other work on it shifts them, as only the plain file needs no
processor.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

if (_folder := str(Path(__file__).resolve().parent)) in sys.path:
    sys.path.remove(_folder)  # otherwise this file would shadow the package of its name

import datasets
import numpy as np
from PIL import Image

from datasetkit.core.files import file_sha256
from datasetkit.core.mask import Mask
from datasetkit.core.record import EncodedImage, KeyObject, ObjectStatus, Phrase, PhraseStatus, Provenance, Record
from datasetkit.core.schema import features_json, record_to_row
from datasetkit.export.dataset.shards import ShardWriter

ROWS_PER_SHARD = 1000
OBJECTS_PER_ROW = 8
SIZE_HW = (480, 640)
MIN_RATIO_GENERATOR, MIN_RATIO_PLAIN = 3.0, 0.5
Row = dict[str, Any]


def make_rows(count: int) -> list[Row]:
    """Return rows with images of about 68 KB and eight masks each, all of them different."""
    random = np.random.default_rng(0)
    jpegs = [make_jpeg(random) for _ in range(20)]
    return [make_row(number, jpegs[number % len(jpegs)], random) for number in range(count)]


def make_row(number: int, jpeg: bytes, random: np.random.Generator) -> Row:
    """Return one row without an overlay; the comment in its image makes it unique."""
    data = jpeg[:2] + b"\xff\xfe\x00\x0a" + f"{number:08d}".encode() + jpeg[2:]
    image = EncodedImage(data, f"{number}.jpg", SIZE_HW[1], SIZE_HW[0])
    text = "A cat sits in front of a blue car."
    phrases = (
        Phrase("A cat", 0, 5, object_ids=(0,), score=0.9, status=PhraseStatus.MATCHED),
        Phrase("a blue car", 23, 33, object_ids=(1,), score=0.8, status=PhraseStatus.MATCHED),
    )
    objects = tuple(make_object(index, random) for index in range(OBJECTS_PER_ROW))
    source = Provenance(f"{number}.jpg", "unknown", f"{number:064x}")
    return record_to_row(Record(str(number), str(number), image, text, source, objects, phrases))


def make_jpeg(random: np.random.Generator) -> bytes:
    """Encode smooth noise to about 68 KB."""
    small = random.integers(0, 256, (46, 61, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((SIZE_HW[1], SIZE_HW[0]), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def make_object(number: int, random: np.random.Generator) -> KeyObject:
    """Return an object whose mask is a wandering column of pixels: about 270 characters."""
    columns = int(random.integers(40, 100))
    tops = (random.integers(100, 200) + np.cumsum(random.integers(-2, 3, columns))).clip(1, 300)
    heights = (60 + np.cumsum(random.integers(-2, 3, columns))).clip(1, 150)
    starts = (random.integers(0, 500) + np.arange(columns)) * SIZE_HW[0] + tops
    edges = np.stack([starts, starts + heights], axis=1).ravel()
    runs = np.diff(np.concatenate([[0], edges, [SIZE_HW[0] * SIZE_HW[1]]])).tolist()
    mask = Mask.from_run_lengths(runs, SIZE_HW)
    return KeyObject(number, mask, "cat", number < 2, 0.5, status=ObjectStatus.MENTIONED)


def write_shards(rows: Sequence[Row], folder: Path) -> None:
    """Write shards of 1,000 rows with the writer that builds use."""
    for start in range(0, len(rows), ROWS_PER_SHARD):
        with ShardWriter(folder / f"{start}.parquet", overlay=False) as writer:
            for row in rows[start : start + ROWS_PER_SHARD]:
                writer.write(row)


def write_from_generator(rows: Sequence[Row], folder: Path) -> None:
    """Write the same rows through ``datasets``, into a new cache; given a fingerprint, it computes none."""
    dataset = datasets.Dataset.from_generator(
        lambda: iter(rows),
        features=datasets.Features.from_dict(features_json(overlay=False)),
        cache_dir=str(folder / "cache"),
        fingerprint="rows",
    )
    dataset.to_parquet(folder / "all.parquet")
    with (folder / "all.parquet").open("rb") as file:
        os.fsync(file.fileno())


def write_plain(pieces: Sequence[bytes], folder: Path) -> None:
    """Write pieces of bytes to one file."""
    with (folder / "plain").open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def seconds(action: Callable[[Path], object]) -> float:
    """Return the time of an action in a new folder, after pending writes are flushed."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        os.sync()
        start = time.perf_counter()
        action(Path(folder))
        return time.perf_counter() - start


def rounds(actions: dict[str, Callable[[Path], object]], count: int) -> Iterator[dict[str, float]]:
    """Return the times of all actions in each round, each round starting with another one."""
    names = list(actions)
    for number in range(count):
        shift = number % len(names)
        yield {name: seconds(actions[name]) for name in names[shift:] + names[:shift]}


def shard_pieces(rows: Sequence[Row]) -> list[bytes]:
    """Return the bytes of the shards of the rows, in one piece per row; print the speed of hashing."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        write_shards(rows, Path(folder))
        paths = sorted(Path(folder).iterdir())
        data = b"".join(path.read_bytes() for path in paths)
        start = time.perf_counter()
        for path in paths:
            file_sha256(path)
        hashing = time.perf_counter() - start
    print(f"shards of {len(data) / 1e6:.1f} MB; hashing separately: {len(data) / hashing / 1e6:,.0f} MB/s")
    step = -(-len(data) // len(rows))
    return [data[start : start + step] for start in range(0, len(data), step)]


def judge(label: str, results: Sequence[dict[str, float]], other: str, minimum: float) -> bool:
    """Print the median ratio of speeds over rounds, and whether it is large enough."""
    ratios = sorted(result[other] / result["shard writer"] for result in results)
    median = statistics.median(ratios)
    verdict = "reached" if median >= minimum else "MISSED"
    print(f"{label}: {median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), at least {minimum:g}: {verdict}")
    return median >= minimum


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    datasets.disable_progress_bars()
    rows = make_rows(options.rows)
    size = sum(len(row["image"]["bytes"]) for row in rows)
    print(f"{len(rows):,} rows with images of {size / len(rows) / 1e3:.1f} KB")
    pieces = shard_pieces(rows)
    actions: dict[str, Callable[[Path], object]] = {
        "shard writer": lambda folder: write_shards(rows, folder),
        "from_generator + to_parquet": lambda folder: write_from_generator(rows, folder),
        "plain file": lambda folder: write_plain(pieces, folder),
    }
    results = list(rounds(actions, options.rounds))
    for name in actions:
        median = statistics.median(result[name] for result in results)
        print(f"{name:28} {len(rows) / median:8,.0f} rows/s {sum(map(len, pieces)) / median / 1e6:8,.0f} MB/s")
    verdicts = [
        judge("compared with from_generator + to_parquet", results, "from_generator + to_parquet", MIN_RATIO_GENERATOR),
        judge("compared with the plain file", results, "plain file", MIN_RATIO_PLAIN),
    ]
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
