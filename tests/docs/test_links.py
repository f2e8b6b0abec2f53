"""What pages point to: files and headings of the repository, and commands with their options."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from datasetkit.cli import app
from tests.conftest import REPOSITORY
from tests.docs import pages

TO_READERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md")


@pytest.mark.parametrize("page", TO_READERS)
def test_links_of_the_repository_lead_to_a_file_and_a_heading(page: str) -> None:
    lost = []
    for url in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        parts = urlsplit(url)
        target = (REPOSITORY / page).parent / unquote(parts.path) if parts.path else REPOSITORY / page
        if not parts.scheme and not (target.exists() and (not parts.fragment or parts.fragment in headings(target))):
            lost.append(url)
    assert not lost


def without_code(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_inline_commands_have_the_options_they_name() -> None:
    wrong = []
    for page in pages.names():
        for typed in re.findall(r"`datasetkit ([a-z][^`]+)`", without_code(page)):
            known = options(typed.split())
            wrong += [f"{page}: {typed}" for word in typed.split() if word.startswith("--") and word not in known]
    assert not wrong


def options(words: list[str]) -> set[str]:
    """The options of the command that words begin with; words such as SOURCE stand for any name."""
    command: click.Command | None = app
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        context = click.Context(command)
        command = command.get_command(context, command.list_commands(context)[0] if word.isupper() else word)
    assert command is not None, words
    return {name for one in command.get_params(click.Context(command)) for name in (*one.opts, *one.secondary_opts)}
