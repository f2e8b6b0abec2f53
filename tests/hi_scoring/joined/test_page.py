"""The joined page: verdicts first, a section for each folder, names that cannot break it, nothing fetched."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from datasetkit.hi_scoring.joined.claims import claims
from datasetkit.hi_scoring.joined.folders import read_folders
from datasetkit.hi_scoring.joined.page import write_page
from datasetkit.hi_scoring.joined.terminal import claims_table
from tests.hi_scoring.joined.made import MODEL, ablated, blocked, scored, sparsified, tuned
from tests.hi_scoring.scores.report.shown import Tags, words_of

HOSTILE = "<img src=x onerror=alert(1)>[red]&"


def write(page: Path, folders: list[Path]) -> bytes:
    found = read_folders(folders)
    write_page(page, found, claims(found))
    return page.read_bytes()


@pytest.mark.slow
def test_all_folders_are_on_one_page_that_fetches_nothing(tmp_path: Path) -> None:
    folders = [
        tuned(tmp_path / "tuned", {"top-layers:1": 0.3, "random-layers:1": 0.1}),
        scored(tmp_path / "scores"),
        blocked(tmp_path / "blocked"),
        ablated(tmp_path / "ablated", {"ram:response": 0.3}),
        sparsified(tmp_path / "sparse"),
    ]
    written = write(tmp_path / "page.html", folders)
    assert written == write(tmp_path / "again.html", folders)
    words = words_of(tmp_path / "page.html")
    titles = ["Which claims hold here", *(f"datasetkit {one}" for one in ("score: scores", "knockout: blocked"))]
    titles += ["datasetkit ablate: ablated", "datasetkit sparsify: sparse", "datasetkit compare: tuned"]
    places = [words.index(title) for title in titles]
    assert places == sorted(places)
    tags = Tags()
    tags.feed(written.decode())
    assert tags.tags["img"] == 6
    assert all(fetched.startswith("data:image/png;base64,") for fetched in tags.fetched)
    assert not {"script", "link", "iframe"} & set(tags.tags)
    assert str(tmp_path) not in written.decode()


@pytest.mark.usefixtures("undrawn")
def test_a_page_opens_with_the_number_of_verdicts(tmp_path: Path) -> None:
    folders = [tuned(tmp_path / "tuned", {"top-layers:1": 0.1, "random-layers:1": 0.3})]
    write(tmp_path / "page.html", folders)
    text = words_of(tmp_path / "page.html")
    assert "hold for toyworld:vlm? Judged by 1 folder of results." in text
    assert "Found 8 verdicts: does not hold 1, not measured 7." in text
    assert text.index("How sure") < text.index("Which claims hold here")


@pytest.mark.usefixtures("undrawn")
def test_names_are_escaped(tmp_path: Path) -> None:
    model = replace(MODEL, id=HOSTILE)
    folders = [
        blocked(tmp_path / "<b>[bold]", model=model),
        ablated(tmp_path / "two", {f"ram:{HOSTILE}": 0.3}, model=model),
        scored(tmp_path / "three", model=model, more={HOSTILE: HOSTILE}),
    ]
    tags = Tags()
    tags.feed(write(tmp_path / "page.html", folders).decode())
    assert tags.tags["b"] == 0
    assert all(fetched.startswith("data:image/png;base64,") for fetched in tags.fetched)
    assert "&lt;b&gt;[bold]" in (tmp_path / "page.html").read_text("utf-8")
    shown = io.StringIO()
    Console(width=200, file=shown).print(claims_table(claims(read_folders(folders))))
    assert "[<b>[bold]]" in shown.getvalue()
