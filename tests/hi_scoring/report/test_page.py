"""What the page says of scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from hi_scoring.report.page import write_page
from tests.hi_scoring.report.made import scores


@pytest.mark.parametrize("by", ["hi:response", "image_mass:response"])
def test_the_table_is_headed_by_what_it_is_ranked_by(tmp_path: Path, by: str) -> None:
    write_page(tmp_path / "page.html", scores(), by=by, top=1)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert f"<h2>Heads of the highest {by}</h2>" in page
