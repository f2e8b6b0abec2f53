"""Which files a page may replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasetkit.core.errors import OutputError
from datasetkit.core.pages import check_page
from tests.conftest import REPOSITORY

PAGES = (
    b'<!doctype html>\n<meta charset="utf-8">\n<meta name="generator" content="datasetkit">\n',
    b"<meta http-equiv=\"Content-Security-Policy\" content=\"style-src 'unsafe-inline'; script-src 'sha256-abc'\">",
    b"",
)


@pytest.mark.parametrize("data", PAGES)
def test_own_page_may_be_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "page.html").write_bytes(data)
    check_page(tmp_path / "page.html", "page.html")


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0", b"<html><body>mine</body></html>", b"x" * 3000 + PAGES[0]])
def test_foreign_file_is_not_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(OutputError, match="exists and is not a page written by datasetkit; give another --out"):
        check_page(tmp_path / "a.jpg", "page.html")


def test_folder_is_refused_and_new_name_is_not(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"is a folder; give a file, such as .*page.html"):
        check_page(tmp_path, "page.html")
    check_page(tmp_path / "new.html", "page.html")


@pytest.mark.parametrize("template", ["cards/preview.html.j2", "hi_scoring/report/frame.html.j2"])
def test_templates_have_the_mark(tmp_path: Path, template: str) -> None:
    text = (REPOSITORY / template).read_text(encoding="utf-8").split("<style>")[0]
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    check_page(tmp_path / "page.html", "page.html")
