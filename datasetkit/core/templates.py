"""Jinja environments of pages and cards. Owns the rule that an undefined name is an error, never a blank."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, StrictUndefined


def template_environment(*, html: bool, **options: Any) -> Environment:
    """Return an environment whose blocks leave no blank lines, with the filter ``grouped`` (thousands separators).

    Args:
        html: whether values are escaped for HTML. Callers escape values for Markdown.
        options: more options of ``jinja2.Environment``.

    """
    environment = Environment(
        autoescape=html,  # noqa: S701 - off for Markdown only
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters["grouped"] = lambda count: f"{count:,}"
    return environment
