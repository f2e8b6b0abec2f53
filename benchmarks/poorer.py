"""Effect of poorer annotations on links: builds of coco_mini as it is, and with damaged annotations.

    python -m benchmarks.poorer [--split train2017] [--seed 0]

Each kind of damage is applied to a copy of the instances; captions and images stay. The status and linked objects of
every phrase, and the key objects, are compared with those of the build of the intact set.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.coco_copies import coco_mini
from datasetkit.core.record import Record
from datasetkit.export.dataset.reading import iter_records
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build

Json = dict[str, Any]
Damage = Callable[[Json, random.Random], None]


def main() -> None:
    """Build, damage, build again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    instances = json.loads((coco_mini() / "annotations" / f"instances_{arguments.split}.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        intact = built(instances, arguments.split, Path(folder) / "intact")
        phrases = sum(len(record.phrases) for record in intact.values())
        print(f"{len(instances['annotations'])} objects, {phrases} phrases, {len(links(intact))} links")
        for name, damage in DAMAGES.items():
            damaged = json.loads(json.dumps(instances))
            damage(damaged, random.Random(arguments.seed))
            report(name, intact, built(damaged, arguments.split, Path(folder) / name.replace(" ", "-")))


def built(instances: Json, split: str, folder: Path) -> dict[str, Record]:
    """Build the records of a set, by id."""
    folder.mkdir()
    (folder / "instances.json").write_text(json.dumps(instances))
    captions = coco_mini() / "annotations" / f"captions_{split}.json"
    source = {"name": "coco", "images": coco_mini() / split, "instances": folder / "instances.json"}
    recipe = Recipe.checked({"source": source | {"captions": captions, "caption": "all"}, "overlay": False})
    manifest = build(recipe, RunOptions(out=folder / "out"))
    shards = (folder / "out" / shard.path for shard in manifest.shards)
    return {record.record_id: record for path in shards for _, record in iter_records(path)}


def report(name: str, intact: dict[str, Record], poorer: dict[str, Record]) -> None:
    """Print the differences."""
    assert intact.keys() == poorer.keys()
    pairs = [pair for key in intact for pair in zip(intact[key].phrases, poorer[key].phrases, strict=True)]
    same = sum((one.status, one.object_ids) == (other.status, other.object_ids) for one, other in pairs)
    before, after = links(intact), links(poorer)
    keys, keys_left = keys_of(intact), keys_of(poorer)
    print(
        f"{name}: {same} of {len(pairs)} phrases unchanged, {len(after - before)} links more, {len(before - after)} "
        f"less; key objects {len(keys_left - keys)} more, {len(keys - keys_left)} less"
    )


def links(records: dict[str, Record]) -> set[tuple[str, int, int]]:
    """Return record id, start of phrase and object id of every link."""
    return {
        (key, phrase.start, object_id)
        for key, record in records.items()
        for phrase in record.phrases
        for object_id in phrase.object_ids
    }


def keys_of(records: dict[str, Record]) -> set[tuple[str, int]]:
    """Return record id and object id of every key object."""
    return {(key, item.id) for key, record in records.items() for item in record.key_objects}


def some(instances: Json, chance: float, draw: random.Random) -> list[Json]:
    """Draw a share of the annotations."""
    return [annotation for annotation in instances["annotations"] if draw.random() < chance]


def add_bad_part(instances: Json, draw: random.Random) -> None:
    """Add an invalid part to a tenth of the polygons."""
    for annotation in some(instances, 0.1, draw):
        if isinstance(annotation["segmentation"], list):
            annotation["segmentation"].append([1.0, 2.0, 3.0, 4.0])


def break_masks(instances: Json, draw: random.Random) -> None:
    """Remove mask and box from a tenth of the objects."""
    for annotation in some(instances, 0.1, draw):
        annotation["segmentation"] = []
        del annotation["bbox"]


def leave_boxes(instances: Json, draw: random.Random) -> None:
    """Remove a third of the masks."""
    for annotation in some(instances, 1 / 3, draw):
        annotation["segmentation"] = draw.choice([[], None])


def crowd_all(instances: Json, _: random.Random) -> None:
    """Mark everything as a crowd."""
    for annotation in instances["annotations"]:
        annotation["iscrowd"] = 1


def lose_categories(instances: Json, draw: random.Random) -> None:
    """Set an unknown category for a tenth of the objects."""
    for annotation in some(instances, 0.1, draw):
        annotation["category_id"] = 999


def renamed(change: Callable[[str], str]) -> Damage:
    """Rename the categories."""

    def rename(instances: Json, _: random.Random) -> None:
        for category in instances["categories"]:
            category["name"] = change(category["name"])

    return rename


DAMAGES: dict[str, Damage] = {
    "a bad part in a tenth": add_bad_part,
    "a tenth without mask and box": break_masks,
    "a third with boxes only": leave_boxes,
    "all crowds": crowd_all,
    "a tenth of unknown category": lose_categories,
    "names with underscores": renamed(lambda name: name.replace(" ", "_")),
    "names run together": renamed(lambda name: name.replace(" ", "")),
    "names in CamelCase": renamed(lambda name: name.title().replace(" ", "")),
    "numbered names": renamed(lambda name: f"{name.replace(' ', '_')}_1"),
    "names with a sense": renamed(lambda name: re.sub(r"$", "_(thing)", name.replace(" ", "_"))),
}


if __name__ == "__main__":
    main()
