"""Names from metadata, joined to their folder: which of them lead outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, PassedOverCounts, PassedOverKind
from datasetkit.core.paths import files_below, leads_out, path_inside
from datasetkit.core.remote import RemotePath


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", False),
        ("images/a.png", False),
        ("./a..b.png", False),
        ("../a.png", True),
        ("images/../../a.png", True),
        ("/etc/passwd", True),
        ("C:\\a.png", True),
        ("a\0.png", True),
    ],
)
def test_absolute_and_climbing_names_lead_outside(tmp_path: Path, name: str, expected: bool) -> None:
    assert leads_out(name) == expected
    for folder in (tmp_path.resolve(), RemotePath("s3://bucket/in")):
        if not expected:
            assert path_inside(folder, name) == folder / name
            continue
        with pytest.raises(UnusableError, match="must be a path inside the folder that it belongs to") as caught:
            path_inside(folder, name)
        assert caught.value.reason == DropReason.PATH_ESCAPES


def test_links_of_the_owner_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "store.png").write_bytes(b"store")
    (folder / "link.png").symlink_to(tmp_path / "store.png")
    assert path_inside(folder, "link.png").read_bytes() == b"store"


def test_each_linked_folder_is_listed_once(tmp_path: Path) -> None:
    folder, store = tmp_path / "in", tmp_path / "store"
    for name in ("in/own/a.png", "store/b.png", "store/deep/c.png", "in/.git/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name, target in (("again", "own"), ("round", "."), ("out", store), ("nothing", "gone"), ("self", "self")):
        (folder / name).symlink_to(target)
    (store / "back").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    counts = PassedOverCounts()
    assert [name for name, _ in files_below(folder, counts)] == ["out/b.png", "out/deep/c.png", "own/a.png"]
    assert {item.kind: (item.count, item.examples) for item in counts} == {
        PassedOverKind.HIDDEN: (1, (".git",)),
        PassedOverKind.NOT_A_FILE: (1, ("pipe.png",)),
        PassedOverKind.DANGLING_LINK: (2, ("nothing", "self")),
        PassedOverKind.LINKED_AGAIN: (3, ("again", "round", "out/back")),
    }
