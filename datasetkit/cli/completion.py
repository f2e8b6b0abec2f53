"""``datasetkit completion``: a script for shells. Owns which shells there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from click.shell_completion import get_completion_class

from datasetkit.cli.screen import Screen
from datasetkit.core.results import Result
from datasetkit.options.base import Options, Typed


class CompletionOptions(Options):
    """Which shell."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Typed("[bash|zsh|fish]", is_argument=True)] = "bash"
    """Shell that runs the script.  [default: bash]"""


@dataclass(frozen=True, slots=True)
class Script(Result):
    """A script and the shell that runs it."""

    shell: str
    script: str

    def report(self) -> Iterator[str]:
        """Yield the script."""
        yield self.script


def completion(options: CompletionOptions, screen: Screen) -> None:
    """Bash and zsh: eval "$(datasetkit completion bash)". Fish: datasetkit completion fish | source."""
    from datasetkit.cli import app

    kind = get_completion_class(options.shell)
    if kind is not None:
        screen.show(Script(options.shell, kind(app, {}, "datasetkit", "_DATASETKIT_COMPLETE").source()))
