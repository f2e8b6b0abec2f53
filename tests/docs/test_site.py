"""The documentation site: it builds without a warning, needs no network, and its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from playwright.sync_api import sync_playwright

from datasetkit.cli import app
from tests.conftest import REPOSITORY
from tools.docs.__main__ import write

CHROMIUM = Path("/usr/bin/chromium")
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}


class Tags(HTMLParser):
    """What a page loads, what it links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag in LOADED and LOADED[tag] in values:
            self.loaded.append(values[LOADED[tag]])
        elif tag == "link":
            self.loaded.append(values["href"])
        elif tag == "a" and "href" in values:
            self.linked.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy of what it is made of; a warning ends the build."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "zensical.toml", folder)
    shutil.copytree(REPOSITORY / "docs", folder / "docs", ignore=shutil.ignore_patterns("reference"))
    for name in ("src", "tools"):
        (folder / name).symlink_to(REPOSITORY / name)
    write(folder / "docs" / "reference")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = {url for page in site.rglob("*.html") for url in Tags(page).loaded}
    assert any(url.endswith(".js") for url in loaded)
    assert not [url for url in loaded if urlsplit(url).netloc]
    for sheet in site.rglob("*.css"):
        named = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", sheet.read_text(encoding="utf-8"))
        assert not [url for pair in named for url in pair if urlsplit(url).netloc]


@pytest.mark.slow
def test_links_within_the_site_lead_to_a_page_and_a_heading(site: Path) -> None:
    tags = {page: Tags(page) for page in site.rglob("*.html") if page.name != "404.html"}
    lost = []
    for page, found in tags.items():
        for url in found.linked:
            parts = urlsplit(url)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not parts.netloc and (target not in tags or (parts.fragment and parts.fragment not in tags[target].ids)):
                lost.append(f"{page.relative_to(site)}: {url}")
    assert not lost


@pytest.mark.slow
def test_a_browser_reads_and_searches_it_as_files(site: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there; apt-get install chromium")
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.goto((site / "reference" / "python.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("object stores")
        page.get_by_role("link", name="Object stores").first.wait_for()
        browser.close()
    assert not [url for url in requests if urlsplit(url).scheme not in {"file", "data", "blob"}]


@pytest.mark.slow
def test_the_reference_has_every_command_and_option(site: Path) -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in (site.parent / "docs" / "reference").glob("*.md"))
    missing = [name for command in commands(app) for name in options(command) if f"`{name}" not in shown]
    assert not missing


def commands(group: click.Group) -> Iterator[click.Command]:
    """Every command below a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command)
        elif command is not None:
            yield command


def options(command: click.Command) -> list[str]:
    return [one.opts[0] for one in command.params if isinstance(one, click.Option)]
