"""Files that earlier pushes left at a destination. Owns which files the next push may replace or delete.

A file counts as written by datasetkit only if the manifest there, the line that a push leaves in the card on the Hub,
or the metadata of the store say so and it is unchanged. All other files are kept unless the user names them.
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
    """Return the files that a push wrote, according to the manifest at the destination.

    Args:
        manifest: bytes of the manifest.
        is_noted: whether pushes since 0.4 note the digests of all files at the destination: files without a digest in a
            manifest of these versions were then not written by them, or have lost their note.

    Returns:
        paths with their SHA-256, or None if the manifest has none; nothing if datasetkit did not write the manifest.

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
    """Whether a path is that of a file of published datasets."""
    return path in PAPERS or is_shard_name(path) or is_generated_name(path)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Files at the destination that no push wrote and that differ from those of this push.

    Args:
        replaced: files that the user allowed to replace.
        refused: all others, for which the push is refused.

    """

    replaced: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @classmethod
    def among(cls, changed: Iterable[str], is_ours: Callable[[str], bool], replace: Collection[str]) -> Foreign:
        """Sort paths that would change into replaced and refused ones; ``replace`` are those that the user allowed."""
        foreign = [path for path in changed if not is_ours(path)]
        replaced = tuple(path for path in foreign if path in replace)
        return cls(replaced, tuple(path for path in foreign if path not in replace))

    @property
    def how(self) -> str:
        """Options that allow the push."""
        return " ".join(f"--replace {path}" for path in self.refused)

    def check(self, place: object, failure: Failure) -> None:
        """Refuse the push if something would be lost.

        Raises:
            HubError, OutputError: something would be lost; names the files and the options that allow it.

        """
        if self.refused:
            raise failure(
                f"{place} has {first_few(self.refused)}, which datasetkit did not write or which changed since; "
                f"keep a copy or push elsewhere; to replace: {self.how}"
            )

    def lines(self, *, is_plan: bool) -> Iterator[str]:
        """Yield a line per file that is, or would be, replaced or refused."""
        for path in self.replaced:
            yield f"replace {path}, which datasetkit did not write"
        for path in self.refused if is_plan else ():
            yield f"refuse  {path}, which datasetkit did not write or which changed since"
        if self.refused and is_plan:
            yield f"the push would be refused; to replace: {self.how}"


def check_replace(replace: Sequence[str], paths: Collection[str]) -> None:
    """Refuse a ``--replace`` that does not name a pushed file.

    Raises:
        OutputError: a path is not among the pushed files; lists them.

    """
    unknown = [path for path in replace if path not in paths]
    if unknown:
        others = sorted(path for path in paths if not is_shard_name(path))
        raise OutputError(
            f"--replace {unknown[0]} does not name a pushed file; these are {', '.join(others)} and shards"
        )


def check_others(others: Iterable[str], manifest: Manifest, place: object, failure: Failure) -> None:
    """Refuse files that no push wrote and that ``load_dataset`` would read as shards of the dataset.

    ``others`` are paths at the destination that neither this push nor earlier ones wrote.

    Raises:
        HubError, OutputError: there is such a file.

    """
    splits = tuple(f"{DATA_FOLDER}/{split}-" for split in manifest.split_rows)
    strange = [path for path in others if path.startswith(splits) and path.endswith(".parquet")]
    if strange:
        raise failure(
            f"{place} has {min(strange)}, which datasetkit did not write and load_dataset would read as part of "
            "this dataset; rename or delete it there, or push elsewhere"
        )
