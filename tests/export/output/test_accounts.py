"""Accounts of the input files of parts: read back one by one; lines of other builds and damaged ones are ignored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasetkit.core.ledger import Tally
from datasetkit.core.schema import SCHEMA_VERSION
from datasetkit.export.dataset.manifest import Manifest, Part, Shard
from datasetkit.export.output.accounts import Account, accounts_path, keep_accounts, read_accounts


def manifest(*digests: str) -> Manifest:
    shards = [
        Shard(f"data/train-{place:05d}-of-00003.parquet", "train", 1, 1, one) for place, one in enumerate(digests)
    ]
    parts = tuple(Part(index, (shard,), Tally()) for index, shard in enumerate(shards))
    return Manifest(SCHEMA_VERSION, "0.6.0", "0", {"source": {"name": "folder"}}, parts, Tally())


def account(index: int) -> Account:
    return {"source": "0", "entries": "0", "files": {f"Bär {index}.png": [1, 2, None, "a" * 64]}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    keep_accounts(tmp_path / "out", manifest("a", "b", "c"), map(account, range(3)))
    return tmp_path / "out"


def test_each_account_is_read_back(out: Path) -> None:
    found = read_accounts(out, manifest("a", "b", "c"))
    assert list(found) == [0, 1, 2]
    assert [found[index] for index in (2, 0, 1)] == [account(2), account(0), account(1)]
    assert found.get(3) is None


def test_a_part_of_another_build_has_no_account(out: Path) -> None:
    assert dict(read_accounts(out, manifest("a", "other", "c"))) == {0: account(0), 2: account(2)}


def test_accounts_end_at_a_damaged_line(out: Path) -> None:
    path = accounts_path(out)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{\n" + lines[2])
    assert dict(read_accounts(out, manifest("a", "b", "c"))) == {0: account(0)}


def test_parts_without_an_account_have_no_line(tmp_path: Path) -> None:
    keep_accounts(tmp_path / "out", manifest("a", "b", "c"), [None, account(1), None])
    assert dict(read_accounts(tmp_path / "out", manifest("a", "b", "c"))) == {1: account(1)}


def test_accounts_that_cannot_be_written_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        keep_accounts(tmp_path / "gone" / "out", manifest("a"), [account(0)])
    assert "so changed input files will not be noticed" in caplog.text


def test_an_account_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    def missing() -> Iterator[Account]:
        raise FileNotFoundError(2, "No such file", "part-00000.inputs")
        yield

    with pytest.raises(FileNotFoundError, match=r"part-00000\.inputs"):
        keep_accounts(tmp_path / "out", manifest("a"), missing())
    assert not list(tmp_path.iterdir())
