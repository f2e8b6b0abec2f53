"""State of the input files of each part. Owns the file that records it next to OUT, and is never published.

A built folder contains no times and no local folder names, so these are in ``.NAME.inputs.jsonl`` next to it. A line
belongs to a part if the hashes of its shards match: lines that another build left are ignored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasetkit.core.documents import load_json
from datasetkit.core.files import real_path, replace_file
from datasetkit.export.dataset.manifest import Manifest, Part

logger = logging.getLogger(__name__)
Account = dict[str, Any]


def accounts_path(folder: Path) -> Path:
    """Return the path of the accounts of a built folder."""
    whole = real_path(folder)
    return whole.parent / f".{whole.name}.inputs.jsonl"


def read_accounts(folder: Path, manifest: Manifest) -> dict[int, Account]:
    """Read the accounts of the parts of a built folder, as far as they exist."""
    parts = {part.index: part for part in manifest.parts}
    found = {}
    with suppress(OSError, KeyError, TypeError, ValueError, RecursionError):
        for line in accounts_path(folder).read_text(encoding="utf-8").splitlines():
            value = load_json(line)
            index, account = value["part"], value["inputs"]
            if index in parts and value["shards"] == _digests(parts[index]) and isinstance(account["files"], dict):
                found[index] = account
    return found


def write_accounts(folder: Path, manifest: Manifest, account_of: Callable[[int], Account | None]) -> None:
    """Write the accounts of all parts; without write permission, changes will not be noticed."""
    known = ((part, account_of(part.index)) for part in manifest.parts)
    lines = [
        json.dumps({"part": part.index, "shards": _digests(part), "inputs": account}) + "\n"
        for part, account in known
        if account is not None
    ]
    try:
        replace_file(accounts_path(folder), "".join(lines).encode())
    except OSError as error:
        path = accounts_path(folder)
        logger.warning("%s cannot be written (%s), so changed input files will not be noticed", path, error.strerror)


def _digests(part: Part) -> list[str]:
    return [shard.sha256 for shard in part.shards]
