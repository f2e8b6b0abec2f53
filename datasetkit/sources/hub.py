"""Datasets of the Hugging Face Hub. Owns the commit that is read, and the conversion of its rows to records.

Everything goes through ``datasets``, which never runs code from a repository. Images stay encoded as they are. Rows of
datasets that datasetkit built are read back as the original records.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, PassedOver
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.options.sources import HubOptions
from datasetkit.sources.columns import TEXT_HINT, Columns, count_unused, find_columns
from datasetkit.sources.files import NO_CAPTION_COLUMN
from datasetkit.sources.hub_files import RepositoryFiles
from datasetkit.sources.hub_loading import (
    HubDataset,
    count_rows,
    encoded,
    resolve_commit,
    rows_from,
    schema_of,
    stated_rows,
)
from datasetkit.sources.in_order import InOrder
from datasetkit.sources.rows import Row, RowReader, RowSource, ids_and_splits, object_ids, only_image
from datasetkit.sources.unused import Unused


@dataclass(frozen=True, slots=True)
class _Split:
    """One split: the number of its first row, how many rows it has, and the access to them."""

    name: str
    dataset: Any
    columns: Columns
    first: int
    rows: int
    take: Callable[[int], Mapping[str, Any] | UnusableError]


class HubSource(RowSource):
    """Rows of a dataset on the Hub. In a list of texts, the first one is used.

    Streaming a dataset that does not state how many rows it has requires the number of rows that are wanted.

    Raises:
        SourceError: the dataset cannot be loaded, or its columns cannot be found.

    """

    def __init__(self, options: HubOptions, context: SourceContext = SourceContext()) -> None:
        repo = options.repo
        self._source = HubDataset(options, resolve_commit(repo, options.revision))
        self._options = options
        self._files = RepositoryFiles(repo, self._source.commit, context.limits)
        self._reader = RowReader(context)
        self._splits: list[_Split] = []
        self._unused = Unused(repo, options.ignore)
        first = 0
        for name, dataset in self._source.load().items():
            wanted = None if context.wanted is None else context.wanted - first
            if wanted is None or wanted > 0:
                self._splits.append(self._split(name, dataset, first, wanted))
                first += self._splits[-1].rows
        has_texts = any(split.columns.text or split.columns.is_record for split in self._splits)
        self._unused.check(has_texts=has_texts or options.names_columns, no_texts=NO_CAPTION_COLUMN, hint=TEXT_HINT)
        self._length = first

    def fingerprint(self) -> str:
        """Return a hex digest of the repository, its commit, and the selection of rows and columns."""
        facts: list[Any] = [self._options.repo, self._source.commit, self._options.config]
        facts += [[split.name, split.rows, split.columns.names] for split in self._splits]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def __len__(self) -> int:
        """Return the number of rows; of a stream, as far as they are wanted."""
        return self._length

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the columns that are not read."""
        return iter(self._unused.counts)

    def _rows_known(self) -> Iterator[Row]:
        """Yield the rows, split by split, reading only the columns of ids and splits."""
        for split in self._splits:
            for row, (record_id, objects, own) in enumerate(itertools.islice(self._ids(split), split.rows)):
                yield Row(split.first + row, record_id, f"{split.name}/{row}", objects, own or split.name)

    def _read(self, entry: Entry, number: int) -> Reading:
        split = self._splits[bisect_right(self._splits, number, key=lambda split: split.first) - 1]
        index = number - split.first
        try:
            taken = split.take(index)
        except IndexError:
            raise UnusableError(
                DropReason.MISSING, f"split {split.name} ends before row {index}, though its card states {split.rows}"
            ) from None
        except UnicodeDecodeError as error:
            raise UnusableError(DropReason.BAD_ROW, f"{split.name}/{index}: a text is not UTF-8: {error}") from error
        if isinstance(taken, UnusableError):
            raise taken
        row = dict(taken)
        row[split.columns.image] = self._files.opened(only_image(row[split.columns.image], entry.record_id))
        uri = f"hub:{self._options.repo}@{self._source.commit}/{split.name}/{index}"
        return self._reader.read(entry, row, split.columns, uri)

    def _split(self, name: str, dataset: Any, first: int, wanted: int | None) -> _Split:
        repo = self._options.repo
        schema = schema_of(dataset, repo)
        columns = find_columns(schema, f"{repo} {name}", self._options)
        count_unused(self._unused, schema, columns)
        images = encoded(dataset, columns)
        if not self._options.streaming:
            return _Split(name, dataset, columns, first, len(dataset), images.__getitem__)
        rows = stated_rows(dataset, name)
        if rows is None:
            if wanted is None:
                raise SourceError(
                    f"{repo} does not say how many rows split {name} has; give --limit, or leave out --streaming"
                )
            others = [column for column in dataset.features if column != columns.image]
            rows = count_rows(self._source.keys(name, dataset, (others or [columns.image])[:1]), wanted)
        in_order = InOrder(lambda number: rows_from(images, number, repo))
        return _Split(name, dataset, columns, first, rows, in_order.take)

    def _ids(self, split: _Split) -> Iterator[tuple[object, Sequence[int], str | None]]:
        """Yield each row's id (None without one), the ids of its objects, and the split that it names."""
        names = [name for name in (split.columns.id, split.columns.split) if name is not None]
        if split.columns.is_record:
            for table in self._source.keys(split.name, split.dataset, ["record_id", "objects"]):
                objects = object_ids(table["objects"].combine_chunks())
                for record_id, of_record in zip(table["record_id"].to_pylist(), objects, strict=True):
                    yield record_id, of_record, None
        elif names:
            for table in self._source.keys(split.name, split.dataset, names):
                yield from ids_and_splits(table, split.columns)
        else:
            yield from ((None, (), None) for _ in range(split.rows))
