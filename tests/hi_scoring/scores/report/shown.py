"""Pages as their readers and their browsers see them."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path


class Tags(HTMLParser):
    """Counts elements, and collects the URLs that they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def words_of(path: Path) -> str:
    """The text of a page in one line."""
    page = re.sub(r'"data:[^"]*"', "", path.read_text("utf-8"))
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())
