"""Pages that work without a network. Owns how their templates are rendered.

Their head and style are in the frame.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup, escape

from datasetkit.core.files import replace_file
from datasetkit.core.templates import template_environment

_TEMPLATE_NAME = "page.html.j2"


@dataclass(frozen=True)
class Opening:
    """The three lines with which a page opens, for who reads nothing else.

    Args:
        asked: the question that the page answers.
        answer: the answer, in a few words.
        found: what the answer rests on.
        sure: how far it can be trusted, and what would make it surer.
        caution: what may make it worthless, shown in bold before ``sure``; "" for nothing.

    """

    asked: str
    answer: str
    found: str
    sure: str
    caution: str = ""


def write_page(path: Path, package: str, title: str, opening: Opening, **values: object) -> None:
    """Render the ``page.html.j2`` of a package, which extends ``frame.html.j2`` of this one; write the file atomically.

    Values are escaped. Templates have the filters ``data``, which turns a PNG into a data URL, ``grouped``, which adds
    commas between thousands, and ``prose``, which marks words in backticks as code.

    Args:
        path: path of the HTML file.
        package: full name of the package.
        title: heading of the page.
        opening: what is below the heading.
        values: all other values that the template uses.

    """
    loader = ChoiceLoader([PackageLoader(name, package_path="") for name in (package, __package__)])
    environment = template_environment(html=True, loader=loader)
    environment.filters["data"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    environment.filters["prose"] = _prose
    html = environment.get_template(_TEMPLATE_NAME).render(title=title, opening=opening, **values)
    replace_file(path, html.encode())


def _prose(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
