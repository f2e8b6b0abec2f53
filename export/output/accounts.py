"""State of the input files of each part. Owns the file that records it, and is never published.

A built folder contains no times and no local folder names, so these are in ``.NAME.inputs.jsonl`` next to it, and in
``.datasetkit/inputs.jsonl`` below a URI, which no command publishes or copies. A line belongs to a part if the hashes
of its shards match: lines that another build left are ignored.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from datasetkit.core.documents import load_json
from datasetkit.core.files import whole_file
from datasetkit.core.paths import Place, open_local, path_beside, read_part
from datasetkit.export.dataset.manifest import Manifest, Part

logger = logging.getLogger(__name__)
Account = dict[str, Any]


def accounts_path(place: Place) -> Place:
    """Return the path of the accounts of a built dataset."""
    return path_beside(place, "inputs.jsonl")


class Accounts(Mapping[int, Account]):
    """Accounts of parts by number. Only the places of their lines are in memory.

    Args:
        read: returns the bytes of the file from an offset on, given a length.
        places: offset and length of the line of each part, bytes.

    """

    def __init__(self, read: Callable[[int, int], bytes], places: Mapping[int, tuple[int, int]]) -> None:
        self._read = read
        self._places = places

    def __getitem__(self, index: int) -> Account:
        account: Account = load_json(self._read(*self._places[index]))["inputs"]
        return account

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_accounts(place: Place, manifest: Manifest) -> Accounts:
    """Read the accounts of the parts of a built dataset, as far as they exist; those in a store are fetched once.

    Raises:
        OSError: a store refuses, or cannot be reached.

    """
    path = accounts_path(place)
    if isinstance(path, Path):
        with suppress(OSError), path.open("rb") as lines:
            return Accounts(partial(read_part, path), _places(lines, manifest))
    else:
        with suppress(FileNotFoundError):
            copy = open_local(path)
            copy.seek(0)
            found = Accounts(partial(_read_from, copy), _places(copy, manifest))
            weakref.finalize(found, copy.close)
            return found
    return Accounts(lambda *_: b"", {})


def _read_from(file: IO[bytes], offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _places(lines: Iterable[bytes], manifest: Manifest) -> dict[int, tuple[int, int]]:
    """Return offset and length of the lines that belong to parts of a dataset, up to the first damaged line."""
    places, end = dict[int, tuple[int, int]](), 0
    parts = {part.index: part for part in manifest.parts}
    with suppress(KeyError, TypeError, ValueError, RecursionError):
        for line in lines:
            start, end = end, end + len(line)
            value = load_json(line)
            index, account = value["part"], value["inputs"]
            if index in parts and value["shards"] == _digests(parts[index]) and isinstance(account["files"], dict):
                places[index] = start, len(line)
    return places


def write_accounts(path: Path, manifest: Manifest, accounts: Iterable[Account | None]) -> None:
    """Write the accounts of all parts, given in the order of the manifest, to a file of this machine."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for part, account in zip(manifest.parts, accounts, strict=True):
            if account is not None:
                value = {"part": part.index, "shards": _digests(part), "inputs": account}
                file.write(json.dumps(value) + "\n")


def keep_accounts(folder: Path, manifest: Manifest, accounts: Iterable[Account | None]) -> None:
    """Write the accounts next to a built folder; without write permission, changes will not be noticed."""
    path = Path(str(accounts_path(folder)))
    try:
        write_accounts(path, manifest, accounts)
    except OSError as error:
        if error.filename != str(path):  # an account cannot be read
            raise
        logger.warning("%s cannot be written (%s), so changed input files will not be noticed", path, error.strerror)


def _digests(part: Part) -> list[str]:
    return [shard.sha256 for shard in part.shards]
