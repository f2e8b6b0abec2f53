"""Names from metadata, joined to the folder that they belong to: which of them lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import leads_out, path_inside
from datasetkit.core.remote import RemotePath


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", False),
        ("pictures/a.png", False),
        ("./a..b.png", False),
        ("../a.png", True),
        ("pictures/../../a.png", True),
        ("/etc/passwd", True),
        ("C:\\a.png", True),
        ("a\0.png", True),
    ],
)
def test_absolute_names_and_such_as_climb_lead_out(tmp_path: Path, name: str, expected: bool) -> None:
    assert leads_out(name) == expected
    for folder in (tmp_path.resolve(), RemotePath("s3://bucket/in")):
        if not expected:
            assert path_inside(folder, name) == folder / name
            continue
        with pytest.raises(UnusableError, match="must be a path below the folder that it belongs to") as caught:
            path_inside(folder, name)
        assert caught.value.reason == DropReason.PATH_ESCAPES


def test_links_are_followed_before_they_are_trusted(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "in"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "own.png").write_bytes(b"own")
    for name, target in (("out", tmp_path / "secret.png"), ("own", folder / "own.png"), ("round", folder / "round")):
        (folder / name).symlink_to(target)
    assert path_inside(folder, "own").read_bytes() == b"own"
    for name, reason in (("out", DropReason.PATH_ESCAPES), ("round", DropReason.UNREADABLE)):
        with pytest.raises(UnusableError) as caught:
            path_inside(folder, name)
        assert caught.value.reason == reason
