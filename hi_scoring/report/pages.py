"""Pages that work without a network. Owns how their templates are filled in; their head and style are in the frame."""

from __future__ import annotations

import base64

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

_TEMPLATE_NAME = "page.html.j2"


def render(package: str, **values: object) -> str:
    """Fill in the ``page.html.j2`` of a package, which extends ``frame.html.j2`` of this one.

    Values are escaped. Templates have the filters ``data``, a PNG as an address that is the picture itself, and
    ``grouped``, a number with commas between thousands.

    Args:
        package: full name.
        values: for the template; all that it names.

    """
    loader = ChoiceLoader([PackageLoader(name, package_path="") for name in (package, __package__)])
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters["data"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    environment.filters["grouped"] = lambda count: f"{count:,}"
    return environment.get_template(_TEMPLATE_NAME).render(**values)
