"""Jinja environments of pages and cards. Owns that a name which a template lacks is an error, never a blank."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, StrictUndefined


def template_environment(*, html: bool, **options: Any) -> Environment:
    """Make an environment whose blocks leave no blank lines, with the filter ``grouped`` (commas between thousands).

    Args:
        html: whether values are escaped for HTML. Markdown is escaped by whoever brings the values.
        options: further options of ``jinja2.Environment``.

    """
    environment = Environment(
        autoescape=html,  # noqa: S701 - off for Markdown alone
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters["grouped"] = lambda count: f"{count:,}"
    return environment
