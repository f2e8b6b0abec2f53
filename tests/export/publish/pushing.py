"""Helpers for tests of pushing: folders, a Hub that this process talks to, and its contents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasetkit.core.files import file_sha256
from datasetkit.export.card.pushed import pushed_card
from datasetkit.export.publish.hub.calls import Patience
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Pushed
from tests.export.folders import record, rows_of, write_folder
from tests.hub.server import HubServer

NAME = "user/scenes"
PART_BYTES = 2**14
HASTY = Patience(attempts=3, first_wait_s=0.01, max_wait_s=0.02)


def build(folder: Path, train: Sequence[int] = (2, 2, 2), test: int = 2, first: int = 0) -> Path:
    """Write a folder with shards of this many records in `train` and one in `test`."""
    rows = rows_of([record(number) for number in range(first, first + sum(train) + test)])
    groups, start = [], 0
    for count in train:
        groups.append(rows[start : start + count])
        start += count
    write_folder(folder, {"train": groups, "test": [rows[start:]]})
    return folder


def push_to(hub: HubServer, folder: Path, **options: object) -> Pushed:
    values: dict[str, object] = {"endpoint": hub.endpoint, "token": hub.token, "patience": HASTY, **options}
    return push(folder, NAME, **values)  # type: ignore[arg-type, return-value]


def held(hub: HubServer, revision: str = "main") -> dict[str, bytes]:
    """Return all files of the repository on the Hub, except its `.gitattributes`."""
    repository = hub.repository(NAME)
    return {path: repository.read(path, revision) for path in repository.files(revision) if path != ".gitattributes"}


def local(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(hub: HubServer, folder: Path) -> dict[str, bytes]:
    """Return all files expected on the Hub after the first push of a folder."""
    files = local(folder)
    digests = {path: file_sha256(folder / path) for path in files if not path.startswith(("data/", "README"))}
    address = f"{hub.endpoint}/datasets/{NAME}"
    card = pushed_card((folder / "README.md").read_text(), None, NAME, address, digests)
    return files | {"README.md": card.text.encode()}


def sent_objects(hub: HubServer) -> int:
    """Return the number of complete uploads of large objects."""
    return sum(hub.traffic.completed.values())
