"""What earlier pushes left where something is published. Owns which files the next push may replace or delete.

Nothing is ours but what the manifest there, the line that a push leaves in the Hub's card, or a store's record of a
file says; of what was changed since, none of them says so. Everything else is somebody's, and stays unless a person
names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from datasetkit.core.documents import load_json
from datasetkit.core.errors import HubError, OutputError
from datasetkit.core.text import first_few
from datasetkit.export.dataset.manifest import DATA_FOLDER, PAPERS, Manifest, is_generated_name, is_shard_name

Failure = type[HubError] | type[OutputError]
_BEFORE_NOTES = re.compile(r"0\.[0-3]\.")


def former_files(manifest: bytes, *, is_noted: bool) -> dict[str, str | None]:
    """Read which files the manifest at a place says that a push wrote there; what else it lists is not ours.

    Args:
        manifest: its bytes.
        is_noted: whether pushes since 0.4 note the digests of all files at the place: then what a manifest of these
            versions has no digest of was not written by them, or has lost its note.

    Returns:
        paths with their sha256, None where the manifest has none; nothing where it is not a manifest of ours.

    """
    try:
        value = load_json(manifest)
        is_old = bool(_BEFORE_NOTES.match(value["code_version"])) and bool(value["schema_version"])
        found: dict[object, object] = dict.fromkeys([*PAPERS, *value["files"]] if is_old or not is_noted else [])
        found |= {shard["path"]: str(shard["sha256"]) for part in value["parts"] for shard in part["shards"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        path: None if sha256 is None else str(sha256)
        for path, sha256 in found.items()
        if isinstance(path, str) and is_name_of_ours(path)
    }


def is_name_of_ours(path: str) -> bool:
    """Whether a path is one that files of a published dataset have."""
    return path in PAPERS or is_shard_name(path) or is_generated_name(path)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Files at the place that no push wrote and that have other bytes than those that are pushed now.

    Args:
        replaced: which a person allowed to replace.
        refused: which nobody did: the push does not go.

    """

    replaced: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @classmethod
    def among(cls, changed: Iterable[str], is_ours: Callable[[str], bool], replace: Collection[str]) -> Foreign:
        """Look at paths that are there and would change; ``replace`` are those that a person allowed."""
        foreign = [path for path in changed if not is_ours(path)]
        replaced = tuple(path for path in foreign if path in replace)
        return cls(replaced, tuple(path for path in foreign if path not in replace))

    @property
    def how(self) -> str:
        """What to type for the push to go."""
        return " ".join(f"--replace {path}" for path in self.refused)

    def check(self, place: object, failure: Failure) -> None:
        """Refuse the push where something would be lost.

        Raises:
            HubError, OutputError: names the files, and what to type.

        """
        if self.refused:
            raise failure(
                f"{place} has {first_few(self.refused)}, which no push of datasetkit wrote or which changed since; "
                f"keep a copy or push elsewhere; to replace: {self.how}"
            )

    def lines(self, *, is_plan: bool) -> Iterator[str]:
        """Yield a line per file that is, or would be, replaced or refused."""
        for path in self.replaced:
            yield f"replace {path}, which no push of datasetkit wrote"
        for path in self.refused if is_plan else ():
            yield f"refuse  {path}, which no push of datasetkit wrote or which changed since"
        if self.refused and is_plan:
            yield f"the push would be refused; to replace: {self.how}"


def check_replace(replace: Sequence[str], paths: Collection[str]) -> None:
    """Refuse a ``--replace`` that names no file that is pushed.

    Raises:
        OutputError: lists the files.

    """
    unknown = [path for path in replace if path not in paths]
    if unknown:
        others = sorted(path for path in paths if not is_shard_name(path))
        raise OutputError(
            f"--replace {unknown[0]} names no file that is pushed; these are {', '.join(others)} and shards"
        )


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
