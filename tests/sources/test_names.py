"""Names of files: which changes find a file, what is never guessed, and the advice if nothing is found."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import leads_out
from datasetkit.sources.names import FolderNames
from tests.pipeline.builders import put

BACKSLASHES, CASE, ENDING = NoticeKind.NAME_BACKSLASHES, NoticeKind.NAME_CASE, NoticeKind.NAME_ENDING
PREFIX, ABSOLUTE = NoticeKind.NAME_PREFIX, NoticeKind.NAME_ABSOLUTE


def folder_of(tmp_path: Path, *names: str) -> Path:
    return put(tmp_path / "data" / "images", dict.fromkeys(names, b"x"))


@pytest.mark.parametrize(
    ("name", "expected", "changes"),
    [
        ("sub/a.JPG", "sub/a.JPG", []),
        ("./sub//a.JPG", "sub/a.JPG", []),
        ("sub/../sub/a.JPG", "sub/a.JPG", []),
        ("sub\\a.JPG", "sub/a.JPG", [BACKSLASHES]),
        ("Sub/a.jpg", "sub/a.JPG", [CASE]),
        ("SUB\\A.jpg", "sub/a.JPG", [BACKSLASHES, CASE]),
        ("images/sub/a.JPG", "sub/a.JPG", [PREFIX]),
        ("data\\images\\sub\\a.JPG", "sub/a.JPG", [BACKSLASHES, PREFIX]),
        ("../images/sub/a.JPG", "sub/a.JPG", []),
        ("b.c", "b.c.png", [ENDING]),
        ("images/B.C", "b.c.png", [PREFIX, CASE, ENDING]),
        ("{FOLDER}/b.c.png", "b.c.png", [ABSOLUTE]),
        ("{FOLDER}/sub/a", "sub/a.JPG", [ABSOLUTE, ENDING]),
    ],
)
def test_changes_of_names(tmp_path: Path, name: str, expected: str, changes: list[NoticeKind]) -> None:
    folder = folder_of(tmp_path, "sub/a.JPG", "b.c.png")
    for names in (FolderNames(folder), FolderNames(folder, ["b.c.png", "sub/a.JPG"])):
        found, data = names.read(name.format(FOLDER=folder), ImageLimits())
        assert (found.name, found.path, list(found.changes)) == (expected, folder / expected, changes)
        assert data == b"x"


@pytest.mark.parametrize(("stored", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_either_form(tmp_path: Path, stored: str, asked: str) -> None:
    folder = folder_of(tmp_path, unicodedata.normalize(stored, "café.png"))  # type: ignore[arg-type]
    found = FolderNames(folder).find(unicodedata.normalize(asked, "café.png"))  # type: ignore[arg-type]
    assert found.changes == (NoticeKind.NAME_UNICODE,)


@pytest.mark.parametrize("name", ["a.png", "c"])
def test_two_possible_files_are_not_decided(tmp_path: Path, name: str) -> None:
    names = FolderNames(tmp_path, ["A.png", "a.PNG", "c.jpg", "c.png"])
    with pytest.raises(UnusableError, match="may refer to any of") as caught:
        names.find(name)
    assert caught.value.reason == DropReason.MISSING


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.png", DropReason.PATH_ESCAPES),
        ("sub/../../secret.png", DropReason.PATH_ESCAPES),
        ("..\\secret.png", DropReason.PATH_ESCAPES),
        ("{FOLDER}/../secret.png", DropReason.PATH_ESCAPES),
        ("/etc/passwd", DropReason.PATH_ESCAPES),
        ("C:\\images\\a.png", DropReason.PATH_ESCAPES),
        ("a\0.png", DropReason.PATH_ESCAPES),
        ("none.png", DropReason.MISSING),
        ("sub", DropReason.UNREADABLE),
        ("\ud800.png", DropReason.UNREADABLE),
    ],
)
def test_names_that_find_nothing(tmp_path: Path, name: str, reason: DropReason) -> None:
    folder = folder_of(tmp_path, "sub/a.JPG")
    put(tmp_path / "data", {"secret.png": b"secret"})
    with pytest.raises(UnusableError) as caught:
        FolderNames(folder).find(name.format(FOLDER=folder))
    assert caught.value.reason == reason


@given(st.lists(st.sampled_from(["..", ".", "a", "A.PNG", "images", "\\", "/", "C:", ""]), max_size=6).map("/".join))
def test_nothing_outside_is_found(name: str) -> None:
    names = FolderNames(Path("/nowhere/images"), ["a/a.png", "a.png"])
    try:
        found = names.find(name)
    except UnusableError:
        return
    assert not leads_out(found.name)


@pytest.mark.parametrize(
    ("files", "missed", "expected"),
    [
        (["deep/a.png", "deep/b.png"], ["a.png", "b.png"], "2 of the first 2 would be found in {FOLDER}/deep; give it"),
        (["patch3/a.png"], ["images/v1/patch3/a.png"], "1 of the first 1 would be found without the prefix images/v1/"),
        (["a.png"], ["/home/me/x/a.png", "no"], "1 of the first 2 would be found without the prefix /home/me/x/"),
        (["new/a.png"], ["old/a.png"], "would be found with new/ in place of old/"),
        (
            ["a.png", "b.png"],
            ["a.jpg", "b.jpg"],
            "2 of the first 2 would be found with the ending .png in place of .jpg",
        ),
        (["a.png"], ["up.png"], "1 of the first 1 would be found in {ABOVE}; give it as --images"),
        (["a.png"], ["x.png"], "holds 1 files, such as a.png; give another folder as --images"),
    ],
)
def test_advice_for_misses(tmp_path: Path, files: list[str], missed: list[str], expected: str) -> None:
    folder = folder_of(tmp_path, *files)
    put(tmp_path / "data", {"up.png": b"x"})
    advice = FolderNames(folder).advice(missed, "--images")
    assert expected.format(FOLDER=folder, ABOVE=folder.parent) in advice
