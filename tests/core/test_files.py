"""Files are written completely or not at all; links, devices and pipes stay what they are."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from datasetkit.core.files import replace_file, whole_file


def test_a_former_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    replace_file(path, b"former")

    def fail() -> None:
        with whole_file(path) as partial:
            partial.write_bytes(b"ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"page.html": b"former"}


def test_a_link_leads_to_the_new_file(tmp_path: Path) -> None:
    there, link = tmp_path / "there" / "page.html", tmp_path / "page.html"
    there.parent.mkdir()
    link.symlink_to(there)
    for data in (b"first", b"second"):
        replace_file(link, data)
        assert (link.readlink(), there.read_bytes()) == (there, data)


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with whole_file(path) as target:
        target.write_bytes(b"page")
    reader.join()
    assert read == [b"page"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_link_to_itself_is_replaced(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    replace_file(loop, b"page")
    assert loop.read_bytes() == b"page"


def test_a_folder_that_is_not_there_is_named_by_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        replace_file(tmp_path / "none" / "page.html", b"page")
    assert error.value.filename == str(tmp_path / "none" / "page.html")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as error:
        replace_file(tmp_path, b"page")
    assert error.value.filename == str(tmp_path)
