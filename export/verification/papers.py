"""Verification of the files next to the shards: manifest, ledger, card, statistics. Owns the rules on their counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fsspec.utils import glob_translate

from datasetkit.core.documents import DocumentError, load_json, load_yaml, read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.ledger import CHANGED_BYTES, SCOPES, PassedOver
from datasetkit.core.schema import row_schema
from datasetkit.export.card.front_matter import features_yaml, read_front_matter
from datasetkit.export.dataset.manifest import (
    ASSETS_FOLDER,
    CARD_NAME,
    LEDGER_NAME,
    LICENSE_NAME,
    MANIFEST_NAME,
    RECIPE_NAME,
    STATISTICS_NAME,
    Manifest,
)
from datasetkit.export.statistics.statistics import Statistics, Summary
from datasetkit.export.verification.faults import Fault
from datasetkit.export.verification.files import DatasetFiles


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of the shards.

    Args:
        rows: number of rows per split, from the footers of the shards.
        columns: columns of the first shard; empty if no shard can be read.
        statistics: statistics of the rows; None if a row could not be counted.

    """

    rows: Mapping[str, int]
    columns: tuple[str, ...]
    statistics: Statistics | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of the ledger.

    Args:
        counts: lines of drops by scope and reason, of notices by kind, and of items passed over by kind.
        changed: ids of the records whose image bytes were changed.
        faults: lines that cannot be read.

    """

    counts: Mapping[str | tuple[str, str], int]
    changed: frozenset[str]
    faults: tuple[Fault, ...]

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read ``ledger.jsonl`` of a built folder."""
        counts: Counter[str | tuple[str, str]] = Counter()
        changed: set[str] = set()
        faults: list[Fault] = []
        try:
            with (folder / LEDGER_NAME).open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    try:
                        _count_event(load_json(line), counts, changed)
                    except DocumentError as error:
                        faults.append(Fault(f"{LEDGER_NAME} line {number}", f"is not an event: {error}"))
                    except (ValueError, KeyError, TypeError) as error:
                        faults.append(Fault(f"{LEDGER_NAME} line {number}", f"is not an event: {error!r}"))
        except (OSError, UnicodeDecodeError) as error:
            faults.append(Fault(LEDGER_NAME, f"cannot be read: {error}"))
        return cls(counts, frozenset(changed), tuple(faults))


def _count_event(event: Mapping[str, Any], counts: Counter[str | tuple[str, str]], changed: set[str]) -> None:
    if event["event"] == "passed_over":
        item = PassedOver.from_json(event)
        counts["passed_over", item.kind.value] += item.count
        return
    names = ("scope", "reason") if event["event"] == "dropped" else ("kind", "record_id")
    first, second = (event[name] for name in names)
    if not (isinstance(first, str) and isinstance(second, str)):
        raise TypeError(f"{names[0]} and {names[1]} must be text")
    if event["event"] == "dropped":
        counts[first, second] += 1
    else:
        counts[first] += 1
        if first in CHANGED_BYTES:
            changed.add(second)


def check_papers(files: DatasetFiles, manifest: Manifest, ledger: Ledger, contents: Contents) -> Iterator[Fault]:
    """Check all other files against the shards."""
    folder = files.papers
    yield from manifest_faults(folder, manifest)
    yield from ledger.faults
    if not ledger.faults:
        yield from _check_ledger(manifest, ledger)
    yield from _check_recipe(folder, manifest)
    yield from _check_statistics(folder, contents)
    yield from _check_card(files, manifest, contents)


def manifest_faults(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Check that the sums of a manifest are those of its parts."""
    found = read_json(folder / MANIFEST_NAME)
    if {"plugins": [], "passed_over": [], "label_map": [], **found} != manifest.to_json():  # older versions had none
        yield Fault(MANIFEST_NAME, "contradicts itself: splits or tally are not the sums of its parts")
    accounts = [(f"part {part.index}", part.tally) for part in manifest.parts]
    for name, tally in [*accounts, ("stray annotations", manifest.stray)]:
        for scope in SCOPES:
            read, kept, dropped = tally.read[scope], tally.kept[scope], tally.dropped[scope].total()
            if read != kept + dropped:
                yield Fault(MANIFEST_NAME, f"{name}: {read:,} {scope}s read, but {kept:,} kept and {dropped:,} dropped")
    for part in manifest.parts:
        rows = sum(shard.rows for shard in part.shards)
        if rows != part.tally.kept["record"]:
            yield Fault(
                MANIFEST_NAME, f"part {part.index}: {part.tally.kept['record']:,} records kept, {rows:,} rows in shards"
            )


def _check_ledger(manifest: Manifest, ledger: Ledger) -> Iterator[Fault]:
    tally = manifest.tally
    counted: dict[str | tuple[str, str], int] = {kind.value: count for kind, count in tally.notices.items()}
    counted |= {("passed_over", item.kind.value): item.count for item in manifest.passed_over}
    for scope in SCOPES:
        counted |= {(scope, reason.value): count for reason, count in tally.dropped[scope].items()}
    found = ledger.counts
    for key in sorted({*counted, *found}, key=str):
        if counted.get(key, 0) != found.get(key, 0):
            name = key if isinstance(key, str) else " ".join(key)
            yield Fault(
                LEDGER_NAME, f"has {found.get(key, 0):,} lines of {name}; the manifest counts {counted.get(key, 0):,}"
            )


def _check_recipe(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    try:
        recipe = load_yaml((folder / RECIPE_NAME).read_bytes())
    except (OSError, DocumentError) as error:
        yield Fault(RECIPE_NAME, f"cannot be read: {error}")
        return
    if recipe != manifest.recipe:
        yield Fault(RECIPE_NAME, "is not the recipe in the manifest")


def _check_statistics(folder: Path, contents: Contents) -> Iterator[Fault]:
    try:
        stored = Statistics.read(folder)
    except BuiltFolderError as error:
        yield Fault(STATISTICS_NAME, str(error))
        return
    counted = contents.statistics
    if counted is None or counted == stored:
        return
    if list(counted.splits) != list(stored.splits):
        yield Fault(STATISTICS_NAME, f"has the splits {list(stored.splits)}; the shards have {list(counted.splits)}")
        return
    pairs = {"all splits": (stored.total, counted.total)}
    pairs |= {split: (stored.splits[split], counted.splits[split]) for split in counted.splits}
    for name, (before, now) in pairs.items():
        wrong = [item.name for item in fields(Summary) if getattr(before, item.name) != getattr(now, item.name)]
        if wrong:
            yield Fault(STATISTICS_NAME, f"does not match the shards ({name}: {', '.join(wrong)})")


def _check_card(files: DatasetFiles, manifest: Manifest, contents: Contents) -> Iterator[Fault]:
    try:
        text = (files.papers / CARD_NAME).read_text(encoding="utf-8")
        front = read_front_matter(text)
    except (OSError, UnicodeDecodeError, BuiltFolderError) as error:
        yield Fault(CARD_NAME, f"cannot be read: {error}")
        return
    for name in re.findall(rf"\]\(({ASSETS_FOLDER}/[^)]+)\)", text):
        if name not in files.names:
            yield Fault(CARD_NAME, f"shows {name}, which is missing")
    if front.get("license_link") == LICENSE_NAME and LICENSE_NAME not in files.names:
        yield Fault(CARD_NAME, f"names {LICENSE_NAME} as its license, which is missing")
    try:
        yield from _check_dataset_info(front["dataset_info"], manifest, contents)
        yield from _check_configs(files.names, front["configs"], manifest)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        yield Fault(CARD_NAME, f"has no complete dataset_info and configs: {error!r}")


def _check_dataset_info(info: Mapping[str, Any], manifest: Manifest, contents: Contents) -> Iterator[Fault]:
    counts = {split["name"]: split["num_examples"] for split in info["splits"]}
    if counts != contents.rows:
        yield Fault(CARD_NAME, f"has num_examples {counts}; the shards have {dict(contents.rows)}")
    size = sum(shard.bytes for shard in manifest.shards)
    if info["download_size"] != size:
        yield Fault(CARD_NAME, f"has download_size {info['download_size']}; the shards have {size} bytes")
    schema = row_schema(overlay="overlay" in contents.columns, version=manifest.schema_version)
    if contents.columns and info["features"] != features_yaml(schema):
        yield Fault(CARD_NAME, "has other features than the shards; load_dataset would refuse or change their columns")


def _check_configs(names: frozenset[str], configs: Sequence[Mapping[str, Any]], manifest: Manifest) -> Iterator[Fault]:
    expected = {
        split: {shard.path for shard in manifest.shards if shard.split == split} for split in manifest.split_rows
    }
    found = {
        # Matched as by load_dataset, in a folder and on the Hub.
        item["split"]: set(filter(re.compile(glob_translate(item["path"])).match, names))
        for item in configs[0]["data_files"]
    }
    for split in sorted({*expected, *found}):
        files, listed = found.get(split, set()), expected.get(split, set())
        if files != listed:
            yield Fault(CARD_NAME, f"lists files {sorted(files)} of split {split}; the manifest lists {sorted(listed)}")
