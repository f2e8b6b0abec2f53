"""Access to a Hub dataset's rows through ``datasets``. Owns the requests to the Hub, and the text of its errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.text import one_line
from datasetkit.options.sources import HubOptions
from datasetkit.sources.columns import Columns

_COMMIT = re.compile(r"[0-9a-f]{40}")
_QUERY = re.compile(r"\?[^\s'\"]+")
_LONGEST_MESSAGE = 400
_KEY_ROWS = 1000


@dataclass(frozen=True, slots=True)
class HubDataset:
    """The part of the Hub that is read; the commit is the full hash."""

    options: HubOptions
    commit: str

    def load(self, **more: Any) -> dict[str, Any]:
        """Return the splits by name, as ``datasets`` does.

        Raises:
            SourceError: the dataset cannot be loaded.

        """
        import datasets

        repo, split = self.options.repo, self.options.split
        if Path(repo).exists():
            raise SourceError(
                f"the working directory has a folder {repo}, which would be read instead; use another working directory"
            )
        options = {"split": split, "revision": self.commit, "streaming": self.options.streaming}
        with readable_errors(repo):
            loaded = datasets.load_dataset(repo, self.options.config, **options, **more)
        return dict(loaded) if split is None else {split: loaded}

    def keys(self, split: str, dataset: Any, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns only, in batches; of Parquet files nothing else is downloaded."""
        if self.options.streaming and dataset.info.builder_name == "parquet":
            dataset = self.load(columns=list(names))[split]
        tables = dataset.select_columns(list(names)).with_format("arrow").iter(_KEY_ROWS)
        with readable_errors(self.options.repo):
            yield from tables


def resolve_commit(repo: str, revision: str | None) -> str:
    """Return the commit of a branch or tag; None is the default branch, a full hash is returned as it is.

    Raises:
        SourceError: the repository or the revision does not exist, or the Hub cannot be reached.

    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    with readable_errors(repo if revision is None else f"{repo}@{revision}"):
        commit = HfApi().dataset_info(repo, revision=revision).sha
    if commit is None:
        raise SourceError(f"{repo}: the Hub returned no commit; give the full hash as --revision")
    return commit


@contextlib.contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn whatever the Hub's clients raise into one line without URL queries, which may contain signatures."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's, by any name

    try:
        yield
    except SourceError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError, DatasetsError, HTTPError, pa.ArrowException) as error:
        raise SourceError(f"{what} cannot be read from the Hub: {without_queries(error)}") from error


def without_queries(error: Exception) -> str:
    """Return an error in one line, without URL queries."""
    return _QUERY.sub("", one_line(error))[:_LONGEST_MESSAGE]


def schema_of(dataset: Any, repo: str) -> pa.Schema:
    """Return the Arrow schema of a split, with the Hub's feature types in its metadata."""
    if dataset.features is None:
        raise SourceError(f"{repo} does not state its columns when streamed; leave out --streaming")
    schema: pa.Schema = dataset.features.arrow_schema
    return schema


def encoded(dataset: Any, columns: Columns) -> Any:
    """Keep only the columns that are read, with images as encoded bytes."""
    import datasets

    if isinstance(dataset, datasets.IterableDataset):
        return dataset.decode(False).select_columns(list(columns.names))
    dataset = dataset.select_columns(list(columns.names))
    for name in columns.names:
        feature, as_bytes = dataset.features[name], datasets.Image(decode=False)
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(name, as_bytes)
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Image):
            dataset = dataset.cast_column(name, datasets.List(as_bytes))
    return dataset


def stated_rows(dataset: Any, split: str) -> int | None:
    """Return how many rows a streamed split has, if its card says so."""
    splits = dataset.info.splits or {}
    return (splits[split].num_examples or None) if split in splits else None


def rows_from(dataset: Any, number: int, repo: str) -> Iterator[Mapping[str, Any] | UnusableError]:
    """Stream a split's rows from a number on; a row whose text is not UTF-8 is replaced by an error."""
    with readable_errors(repo):
        while True:
            try:
                for row in dataset.skip(number):
                    yield row
                    number += 1
            except UnicodeDecodeError as error:
                yield UnusableError(DropReason.BAD_ROW, f"row {number}: a text is not UTF-8: {error}")
                number += 1
            else:
                return


def count_rows(tables: Iterator[pa.Table], most: int) -> int:
    """Count rows, no further than needed."""
    total = 0
    for table in tables:
        total += table.num_rows
        if total >= most:
            break
    return min(total, most)
