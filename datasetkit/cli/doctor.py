"""``datasetkit doctor``: which models and plug-ins work on this machine."""

from __future__ import annotations

from datasetkit.api.doctor import examine
from datasetkit.cli.screen import Screen
from datasetkit.options.base import Options


def doctor(options: Options, screen: Screen) -> None:  # noqa: ARG001 - commands take options
    """For each part that does not work, the command that fixes it; plug-ins with their distribution and version."""
    found = examine()
    screen.show(found, is_failure=not found.is_sound)
