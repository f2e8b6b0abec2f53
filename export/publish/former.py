"""What an earlier push left where a dataset is published. Owns which files the next push may replace or delete."""

from __future__ import annotations

import json
from collections.abc import Iterable

from datasetkit.core.errors import HubError, OutputError
from datasetkit.export.dataset.manifest import DATA_FOLDER, MANIFEST_NAME, Manifest, is_generated_name
from datasetkit.export.publish.files import is_shard_name

Failure = type[HubError] | type[OutputError]


def former_files(data: bytes, place: object, failure: Failure) -> dict[str, str | None]:
    """Read which shards and generated files the manifest at a place lists; what else it lists is not ours to delete.

    Returns:
        paths with their sha256, None where the manifest has none.

    Raises:
        HubError, OutputError: it is not a manifest of ours.

    """
    try:
        value = json.loads(data)
        found: dict[object, object] = {
            shard["path"]: shard.get("sha256") for part in value["parts"] for shard in part["shards"]
        }
        found |= dict.fromkeys(value.get("files", []))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise failure(
            f"the {MANIFEST_NAME} of {place} is none of datasetkit ({error!r}), so nobody knows which files a push may "
            "replace; delete it there, or push elsewhere"
        ) from error
    return {
        path: None if sha256 is None else str(sha256)
        for path, sha256 in found.items()
        if isinstance(path, str) and (is_shard_name(path) or is_generated_name(path))
    }


def check_others(others: Iterable[str], manifest: Manifest, place: object, failure: Failure) -> None:
    """Refuse files that no push wrote and that ``load_dataset`` would take for shards of the dataset.

    ``others`` are paths at the place that are neither pushed now nor were pushed before.

    Raises:
        HubError, OutputError: there is such a file.

    """
    splits = tuple(f"{DATA_FOLDER}/{split}-" for split in manifest.split_rows)
    strange = [path for path in others if path.startswith(splits) and path.endswith(".parquet")]
    if strange:
        raise failure(
            f"{place} has {min(strange)}, which no push of datasetkit wrote and load_dataset would read as part of "
            "this dataset; rename or delete it there, or push elsewhere"
        )
