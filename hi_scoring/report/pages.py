"""Pages that work without a network. Owns how their templates are filled in, and what they may replace.

Their head and style are in the frame.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup, escape

from datasetkit.core.errors import OutputError
from datasetkit.core.files import replace_file
from datasetkit.core.templates import template_environment

_TEMPLATE_NAME = "page.html.j2"
# As the frame has it, near its beginning.
_GENERATOR, _HEAD_BYTES = b'<meta name="generator" content="datasetkit">', 2048


@dataclass(frozen=True)
class Opening:
    """The three lines with which a page opens, for who reads nothing else.

    Args:
        asked: the question that the page answers.
        answer: the answer, in a few words.
        found: what the answer rests on.
        sure: how far it can be trusted, and what would make it surer.

    """

    asked: str
    answer: str
    found: str
    sure: str


def check_place(path: Path) -> None:
    """Refuse a path where a page would replace something else.

    Raises:
        OutputError: it is a folder, or a file that datasetkit did not write.

    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file, as {path / 'report.html'}")
    if path.exists():
        with path.open("rb") as file:
            if _GENERATOR not in file.read(_HEAD_BYTES):
                raise OutputError(f"{path} exists and was not written by datasetkit; give another --out")


def write_page(path: Path, package: str, title: str, opening: Opening, **values: object) -> None:
    """Fill in the ``page.html.j2`` of a package, which extends ``frame.html.j2`` of this one; put it in place whole.

    Values are escaped. Templates have the filters ``data``, a PNG as an address that is the image itself, ``grouped``,
    a number with commas between thousands, and ``prose``, a text whose words in backticks are code.

    Args:
        path: of the HTML file.
        package: full name.
        title: heading of the page.
        opening: what is below the heading.
        values: for the template; all else that it names.

    """
    loader = ChoiceLoader([PackageLoader(name, package_path="") for name in (package, __package__)])
    environment = template_environment(html=True, loader=loader)
    environment.filters["data"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    environment.filters["prose"] = _prose
    html = environment.get_template(_TEMPLATE_NAME).render(title=title, opening=opening, **values)
    replace_file(path, html.encode())


def _prose(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
