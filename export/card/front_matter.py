"""A dataset card's front matter: what the Hub and ``load_dataset`` read. Owns its keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import yaml

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.schema import row_schema
from datasetkit.export.card.licenses import card_license
from datasetkit.export.card.models import found_by_models
from datasetkit.export.card.parts import front_value, split_card
from datasetkit.export.dataset.manifest import DATA_FOLDER, LICENSE_NAME, Manifest
from datasetkit.export.statistics.statistics import Statistics, Summary

_SIZE_CATEGORIES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")


def features_yaml(schema: pa.Schema) -> list[dict[str, Any]]:
    """Write a row's feature types as ``datasets`` does in a card."""
    return [_feature(field.name, field.type) for field in schema]


def _feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    if name in {"image", "overlay"}:
        return {"name": name, "dtype": "image"}
    if pa.types.is_struct(kind):
        return {"name": name, "struct": [_feature(field.name, field.type) for field in kind]}
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return {"name": name, "list": [_feature(field.name, field.type) for field in kind.value_type]}
    if pa.types.is_list(kind):
        return {"name": name, "list": _dtype(kind.value_type)}
    return {"name": name, "dtype": _dtype(kind)}


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def front_matter(manifest: Manifest, statistics: Statistics, title: str) -> dict[str, Any]:
    """Return a card's front matter; ``title`` is the dataset's display name."""
    total = statistics.total
    tasks = {
        "image-segmentation": total.objects,
        "object-detection": total.objects,
        "image-to-text": total.described,
        "visual-question-answering": total.questions,
    }
    front: dict[str, Any] = {"pretty_name": title, **card_license(total.licenses, LICENSE_NAME)}
    front["annotations_creators"] = _annotations_creators(manifest, total)
    if total.phrases:  # phrases are found by an English lexicon: a dataset that has them is in English
        front["language"] = ["en"]
    if (source := hub_source(manifest)) is not None:
        front["source_datasets"] = [source]
    front["task_categories"] = [task for task, count in tasks.items() if count]
    front["tags"] = ["datasetkit", *(["phrase-grounding"] if total.links else [])]
    magnitude = len(str(total.records)) - 3
    front["size_categories"] = [_SIZE_CATEGORIES[min(max(magnitude, 0), len(_SIZE_CATEGORIES) - 1)]]
    splits = [
        {"name": name, "num_bytes": item.num_bytes, "num_examples": item.records}
        for name, item in statistics.splits.items()
    ]
    front["dataset_info"] = {
        "features": features_yaml(card_schema(manifest)),
        "splits": splits,
        "download_size": sum(shard.bytes for shard in manifest.shards),
        "dataset_size": total.num_bytes,
    }
    files = [{"split": name, "path": f"{DATA_FOLDER}/{name}-*.parquet"} for name in statistics.splits]
    front["configs"] = [{"config_name": "default", "data_files": files}]
    return front


def card_schema(manifest: Manifest) -> pa.Schema:
    """Return the schema of the rows that a card describes."""
    return row_schema(overlay=manifest.options["overlay"], version=manifest.schema_version)


def hub_source(manifest: Manifest) -> str | None:
    """Return the name of the dataset on the Hub that the images came from, or None."""
    source = manifest.options["source"]
    return str(source["repo"]) if source["name"] == "hub" else None


def _annotations_creators(manifest: Manifest, total: Summary) -> list[str]:
    """Return the Hub's words for who made the masks.

    The Hub knows found, crowdsourced, expert-generated, machine-generated, no-annotation and other (``creators.json``
    in the sources of ``datasets`` up to 2.x). "found" is for sources of which we cannot know who drew their masks:
    COCO's form has files of people and of models.
    """
    if not total.objects:
        return ["no-annotation"]
    is_rendered = manifest.options["source"]["name"] == "toyworld"
    # Scores are those of models, in a dataset that was built before.
    if found_by_models(manifest) or total.scores or is_rendered:
        return ["machine-generated"]
    return ["found"]


def card_yaml(value: Mapping[str, Any]) -> str:
    """Write plain values as YAML, in their order."""
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=120)


def read_front_matter(card: str) -> Mapping[str, Any]:
    """Read a card's YAML.

    Raises:
        BuiltFolderError: the card does not begin with a mapping between two lines of ``---``.

    """
    value = front_value(split_card(card)[0])
    if not isinstance(value, Mapping):
        raise BuiltFolderError("the card has no front matter: it must begin with YAML between two lines of ---")
    return value
