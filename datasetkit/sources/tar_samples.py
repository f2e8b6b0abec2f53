"""Samples of a WebDataset shard. Owns which members belong together, and the names of many shards in one pattern."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place, as_place, leads_out
from datasetkit.sources.files import PICTURE_SUFFIXES, as_text
from datasetkit.sources.tar_index import Break, Member

_MOST_SHARDS = 100_000
_BRACES = re.compile(r"\{(?:(\d{1,9})\.\.(\d{1,9})|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """The members of one key: the first picture, and those with text by their ending.

    ``fault`` says why it makes no record, where the headers tell already.
    """

    shard: int
    key: str
    picture: Member | None = None
    texts: Mapping[str, Member] = field(default_factory=dict)
    fault: tuple[DropReason, str] | None = None


def expanded(pattern: Place) -> list[Place]:
    """Write out a name with braces; one without, or of a file that is there, stays as it is."""
    if pattern.exists():
        return [pattern]
    pieces: list[list[str]] = []
    start = 0
    text = str(pattern)
    for match in _BRACES.finditer(text):
        pieces.append([text[start : match.start()]])
        first, last, names = match.groups()
        if names is None and int(last) - int(first) >= _MOST_SHARDS:
            raise SourceError(f"{pattern} names more than {_MOST_SHARDS:,} shards; give folders instead")
        width = len(first or "")
        numbers = range(int(first), int(last) + 1) if names is None else ()
        pieces.append(names.split(",") if names is not None else [f"{number:0{width}d}" for number in numbers])
        start = match.end()
    pieces.append([text[start:]])
    found = [as_place("".join(parts)) for parts in itertools.islice(itertools.product(*pieces), _MOST_SHARDS + 1)]
    if not 0 < len(found) <= _MOST_SHARDS:
        raise SourceError(f"{pattern} names {'no' if not found else 'too many'} shards; give folders instead")
    return found


def group(shard: int, shard_name: str, members: Sequence[Member | Break]) -> Iterator[Sample]:
    """Put members that follow each other and have one key together."""
    key: str | None = None
    endings: dict[str, Member] = {}
    for item in members:
        if isinstance(item, Break):
            break
        its_key, ending = _key_of(item.name)
        if key is not None and (its_key != key or ending in endings):
            yield _sample(shard, key, endings)
            endings = {}
        key = its_key
        endings[ending] = item
    if key is not None:
        yield _sample(shard, key, endings)
    for item in members:
        if isinstance(item, Break):
            detail = f"{shard_name} breaks off at byte {item.offset:,}: {item.detail}"
            yield Sample(shard, f"byte {item.offset}", fault=(DropReason.TRUNCATED, detail))


def _sample(shard: int, key: str, endings: Mapping[str, Member]) -> Sample:
    picture = next((member for ending, member in endings.items() if f".{ending}" in PICTURE_SUFFIXES), None)
    texts = {ending: endings[ending] for ending in ("txt", "json") if ending in endings}
    fault = next((fault for member in endings.values() if (fault := _fault_of(member))), None)
    return Sample(shard, as_text(key), picture, texts, fault)


def _fault_of(member: Member) -> tuple[DropReason, str] | None:
    if leads_out(member.name):
        return DropReason.PATH_ESCAPES, f"{as_text(member.name)!r} must be a path below the shard"
    if member.fault is not None:
        reason = DropReason.TRUNCATED if "cut short" in member.fault else DropReason.UNREADABLE
        return reason, f"{as_text(member.name)} {member.fault}"
    return None


def _key_of(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last part; a name without one is a key without an ending."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.partition(".")
    if not (stem and dot):
        return str(path), ""
    return str(path.with_name(stem)), ending.lower()
