"""Samples of a WebDataset shard. Owns which members belong together, and the expansion of patterns to shard names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.paths import Place, as_place, leads_out
from datasetkit.sources.files import IMAGE_SUFFIXES, as_text
from datasetkit.sources.tar_index import Break, Member
from datasetkit.sources.unused import Unused

_MOST_SHARDS = 100_000
_BRACES = re.compile(r"\{(?:(\d{1,9})\.\.(\d{1,9})|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """The members of one key: the first image, the text, and the JSON.

    ``fault`` is why it cannot become a record, if its headers already show that.
    """

    shard: int
    key: str
    image_member: Member | None = None
    text: Member | None = None
    json: Member | None = None
    notices: tuple[NoticeKind, ...] = ()
    fault: tuple[DropReason, str] | None = None


@dataclass(slots=True)
class _Members:
    """Members of one key by their suffix."""

    key: str
    endings: dict[str, Member] = field(default_factory=dict)
    notices: tuple[NoticeKind, ...] = ()

    @property
    def images(self) -> list[str]:
        return [ending for ending in self.endings if f".{ending}" in IMAGE_SUFFIXES]


def expanded(pattern: Place) -> list[Place]:
    """Expand a name with braces; a name without braces, or of an existing file, stays as it is."""
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


def group(
    shard: int, shard_name: str, members: Sequence[Member | Break], text_endings: Sequence[str], unused: Unused
) -> Iterator[Sample]:
    """Group members that have one key, in the order of their first ones.

    A key ends at the first dot of a name, or at the last one if no key would then have an image.
    """
    for found in _by_key(item for item in members if isinstance(item, Member)):
        has_image = found.images or not any(
            _last_ending(item.name) in IMAGE_SUFFIXES for item in found.endings.values()
        )
        apart = [found] if has_image else _by_key(found.endings.values(), ends_last=True)
        yield from (_sample(shard, one, text_endings, unused) for one in apart)
    for item in members:
        if isinstance(item, Break):
            detail = f"{shard_name} cannot be read from byte {item.offset:,} on: {item.detail}"
            yield Sample(shard, f"byte {item.offset}", fault=(DropReason.TRUNCATED, detail))


def _by_key(members: Iterable[Member], *, ends_last: bool = False) -> list[_Members]:
    found: list[_Members] = []
    newest: dict[str, _Members] = {}
    previous = None
    for item in members:
        key, ending = _key_of(item.name, ends_last=ends_last)
        if key not in newest or ending in newest[key].endings:
            newest[key] = _Members(key, notices=(NoticeKind.DOTS_IN_KEY,) if ends_last else ())
            found.append(newest[key])
        elif key != previous and not ends_last:
            newest[key].notices = (NoticeKind.MEMBERS_APART,)
        newest[key].endings[ending] = item
        previous = key
    return found


def _sample(shard: int, found: _Members, text_endings: Sequence[str], unused: Unused) -> Sample:
    endings = found.endings
    image = next(iter(found.images), None)
    text = next((ending for ending in text_endings if ending in endings), None)
    used = [ending for ending in (image, text, "json") if ending in endings]
    for ending in endings if image is not None else ():
        if ending not in used:
            unused.member(ending, is_image=_last_ending(f".{ending}") in IMAGE_SUFFIXES)
    at_fault = (endings[ending] for ending in (used if image is not None else endings))
    fault = next((fault for member in at_fault if (fault := _fault_of(member))), None)
    image_member, text_member = endings.get(image or "\0"), endings.get(text or "\0")
    return Sample(shard, as_text(found.key), image_member, text_member, endings.get("json"), found.notices, fault)


def _fault_of(member: Member) -> tuple[DropReason, str] | None:
    if leads_out(member.name):
        return DropReason.PATH_ESCAPES, f"{as_text(member.name)!r} must be a path inside the shard"
    if member.fault is not None:
        reason = DropReason.TRUNCATED if "cut short" in member.fault else DropReason.UNREADABLE
        return reason, f"{as_text(member.name)} {member.fault}"
    return None


def _key_of(name: str, *, ends_last: bool) -> tuple[str, str]:
    """Split a member's name at a dot of its last part; a name without a dot is a key without a suffix."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.rpartition(".") if ends_last else path.name.partition(".")
    if not (stem and dot):
        return str(path), ""
    return str(path.with_name(stem)), ending.lower()


def _last_ending(name: str) -> str:
    return f".{name.lower().rpartition('.')[2]}"
