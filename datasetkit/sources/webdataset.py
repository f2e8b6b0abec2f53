"""WebDataset shards: tar files whose members belong together by key. Owns how samples become records.

``KEY.jpg`` (or another image) with ``KEY.txt``, ``KEY.caption`` or ``KEY.json`` is one record; a key is a name up to
the first dot of its last part. One scan of the headers finds where every member is; images are read by offset. Shards
that ``datasetkit export`` wrote are read back as the original records.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from datasetkit.core.errors import SourceError, UnreachableError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind, PassedOver
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.options.sources import WebdatasetOptions
from datasetkit.sources.columns import TEXT_HINT, Columns
from datasetkit.sources.files import CAPTION_COLUMNS, as_text, list_shards, split_of_shard
from datasetkit.sources.rows import Row, RowReader, RowSource, first_text, texts_in
from datasetkit.sources.tar_index import Member, scan_tar
from datasetkit.sources.tar_samples import Sample, expanded, group
from datasetkit.sources.tar_texts import bytes_of, is_record, record_row, text_of, values_of
from datasetkit.sources.unused import Leaf, Unused, leaves_of_value

_RECORD = Columns("image", is_record=True)
_TEXT_ENDINGS = ("txt", "caption")
_LOOKED_AT = 20


class WebdatasetSource(RowSource):
    """Samples of tar shards.

    Raises:
        SourceError: there is no shard, a shard cannot be opened, or none has an image.

    """

    def __init__(self, options: WebdatasetOptions, context: SourceContext = SourceContext()) -> None:
        places = [place for pattern in options.shards for place in expanded(pattern)]
        self._unused = Unused(", ".join(map(str, options.shards)), options.ignore)
        self._shards = list_shards(places, ".tar", self._unused.counts)
        self._text_column = options.text_column
        self._encoding = options.encoding
        named = _TEXT_ENDINGS if options.text_member is None else (options.text_member.lstrip(".").lower(),)
        endings = [ending for ending in named if not {ending, f".{ending}"} & {*options.ignore}]
        self._caption_keys = tuple(name for name in CAPTION_COLUMNS if name not in options.ignore)
        self._limits = context.limits
        self._reader = RowReader(context)
        self._samples: list[Sample] = []
        digest = hashlib.sha256()
        for number, (name, path) in enumerate(self._shards):
            try:
                members = list(scan_tar(path))
            except OSError as error:
                raise SourceError(f"{path} cannot be read: {error.strerror}") from None
            facts = [(item.name, item.offset, item.size) for item in members if isinstance(item, Member)]
            digest.update(json.dumps([name, path.stat().st_size, facts]).encode())
            self._samples.extend(group(number, name, members, endings, self._unused))
        self._fingerprint = digest.hexdigest()
        if not any(sample.image_member for sample in self._samples):
            details = [sample.fault[1] for sample in self._samples if sample.fault]
            shards = ", ".join(map(str, options.shards))
            raise SourceError(details[0] if details else f"{shards}: no shard holds an image")
        self._holds_records = options.text_column is None and self._first_is_record()
        if not self._holds_records:
            self._check_unused()

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the members and keys that are not used; keys as far as the first samples have them."""
        return iter(self._unused.counts)

    def fingerprint(self) -> str:
        """Return a hex digest of the shards' names and sizes, and of their members' names, offsets and sizes."""
        return self._fingerprint

    def __len__(self) -> int:
        """Return the number of samples, including those that cannot be read."""
        return len(self._samples)

    def _rows_known(self) -> Iterator[Row]:
        """Yield the samples, shard by shard; the point where a shard becomes unreadable is a row too."""
        for number, sample in enumerate(self._samples):
            name = self._shards[sample.shard][0]
            record_id, objects = self._ids(sample)
            yield Row(number, record_id, f"{name}/{sample.key}", objects, split_of_shard(name))

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Return the path of a sample's shard."""
        return {} if entry.handle is None else dict([self._shards[self._samples[entry.handle].shard]])

    def _read(self, entry: Entry, number: int) -> Reading:
        sample = self._samples[number]
        if sample.fault:
            raise UnusableError(*sample.fault)
        if sample.image_member is None:
            raise UnusableError(DropReason.MISSING, f"{entry.record_id} has no image")
        if sample.image_member.size > self._limits.max_bytes:
            size = f"{as_text(sample.image_member.name)} has {sample.image_member.size:,} bytes"
            raise UnusableError(DropReason.TOO_MANY_BYTES, f"{size}; at most {self._limits.max_bytes:,} are allowed")
        shard, path = self._shards[sample.shard]
        data = bytes_of(path, sample.image_member)
        if self._holds_records:
            row = record_row(path, sample)
            return self._reader.read(entry, row | {"image": row["image"] | {"bytes": data}}, _RECORD, shard)
        description, license_name, notices = self._texts(path, sample)
        name = PurePosixPath(as_text(sample.image_member.name))
        return self._reader.reading(entry, data, name.name, description, license_name, f"{shard}/{name}", notices)

    def _texts(self, path: Place, sample: Sample) -> tuple[object, str | None, tuple[NoticeKind, ...]]:
        """Return the description and the license of a sample, and notices about them."""
        text, notices = text_of(path, sample, self._encoding), sample.notices
        try:
            values = values_of(path, sample, self._encoding)
        except UnusableError:
            if not (text or "").strip() or self._text_column is not None:
                raise
            values, notices = {}, (*notices, NoticeKind.UNREAD_BESIDE)
        if self._text_column is not None:
            column = self._text_column.split(".") if self._text_column not in values else [self._text_column]
            possible: list[object] = [list(texts_in(values.get(column[0]), column[1:]))]
        else:
            possible = [text, *(values.get(name) for name in self._caption_keys)]
            if len({first_text(value) for value in possible} - {None}) > 1:
                notices = (*notices, NoticeKind.FURTHER_TEXTS)
        description = next((value for value in possible if first_text(value) or isinstance(value, int | float)), None)
        return description, first_text(values.get("license")), notices

    def _check_unused(self) -> None:
        """Count the keys of the first JSON members that are not read; refuse a source with unused texts or masks."""
        leaves: dict[str, list[Leaf]] = {}
        has_texts = self._text_column is not None or any(sample.text is not None for sample in self._samples)
        used = {*self._caption_keys, "license"} if self._text_column is None else {self._text_column.partition(".")[0]}
        with_json = (sample for sample in self._samples if sample.json is not None and not sample.fault)
        for sample in itertools.islice(with_json, _LOOKED_AT):
            with suppress(UnusableError):  # reported when the sample is read
                values = values_of(self._shards[sample.shard][1], sample, self._encoding)
                has_texts = has_texts or any(values.get(name) for name in self._caption_keys)
                for key, value in values.items():
                    if key not in used:
                        leaves.setdefault(key, []).extend(leaves_of_value(value, key))
        for key, found in leaves.items():
            self._unused.column(key, found)
        hint = f"--text-member names the ending of texts, {TEXT_HINT.replace('of them', 'key')}"
        self._unused.check(has_texts=has_texts, no_texts="no KEY.txt, and no caption in KEY.json", hint=hint)

    def _first_is_record(self) -> bool:
        """Return whether the shards are exported records, judged by the first sample with JSON."""
        sample = next((sample for sample in self._samples if sample.json is not None and not sample.fault), None)
        try:
            return sample is not None and is_record(values_of(self._shards[sample.shard][1], sample))
        except UnreachableError as error:
            raise SourceError(str(error)) from error.__cause__
        except UnusableError:
            return False

    def _ids(self, sample: Sample) -> tuple[object, Sequence[int]]:
        """Return a record's id and those of its objects; neither if it has none, or if it cannot be read."""
        if not self._holds_records or sample.fault:
            return None, ()
        try:
            row = record_row(self._shards[sample.shard][1], sample)
        except UnreachableError as error:
            raise SourceError(str(error)) from error.__cause__
        except UnusableError:  # reported when the sample is read
            return None, ()
        return row["record_id"], [item["id"] for item in row["objects"] or () if item is not None]
