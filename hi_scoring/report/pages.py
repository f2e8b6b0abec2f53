"""Pages that work without a network. Owns how their templates are filled in, and what they may replace.

Their head and style are in the frame.
"""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import ChoiceLoader, PackageLoader

from datasetkit.core.errors import OutputError
from datasetkit.core.files import replace_file
from datasetkit.core.templates import template_environment

_TEMPLATE_NAME = "page.html.j2"
# As the frame has it, near its beginning.
_GENERATOR, _HEAD_BYTES = b'<meta name="generator" content="datasetkit">', 2048


def check_place(path: Path) -> None:
    """Refuse a place that a page would be written to at the expense of something else.

    Raises:
        OutputError: it is a folder, or a file that is no page of ours.

    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file, as {path / 'report.html'}")
    if path.exists():
        with path.open("rb") as file:
            if _GENERATOR not in file.read(_HEAD_BYTES):
                raise OutputError(f"{path} is there and no page of datasetkit; give another --out")


def write_page(path: Path, package: str, **values: object) -> None:
    """Fill in the ``page.html.j2`` of a package, which extends ``frame.html.j2`` of this one; put it in place whole.

    Values are escaped. Templates have the filters ``data``, a PNG as an address that is the image itself, and
    ``grouped``, a number with commas between thousands.

    Args:
        path: of the HTML file.
        package: full name.
        values: for the template; all that it names.

    """
    loader = ChoiceLoader([PackageLoader(name, package_path="") for name in (package, __package__)])
    environment = template_environment(html=True, loader=loader)
    environment.filters["data"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    replace_file(path, environment.get_template(_TEMPLATE_NAME).render(**values).encode())
