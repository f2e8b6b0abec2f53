"""``datasetkit doctor`` and ``completion``. Owns which shells there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from click.shell_completion import get_completion_class

from datasetkit.api.doctor import examine
from datasetkit.api.doctor_preset import examine_preset
from datasetkit.cli.screen import Screen
from datasetkit.core.results import Result
from datasetkit.options.base import Options, Typed
from datasetkit.options.build import DoctorCommand


class CompletionOptions(Options):
    """The shell to complete commands in."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Typed("[bash|zsh|fish]", is_argument=True)] = "bash"
    """Shell that runs the script.  [default: bash]"""


@dataclass(frozen=True, slots=True)
class Script(Result):
    """A script that completes commands in a shell."""

    script: str

    def report(self) -> Iterator[str]:
        """Yield the script."""
        yield self.script


def completion(options: CompletionOptions, screen: Screen) -> None:
    """Bash and zsh: eval "$(datasetkit completion bash)". Fish: datasetkit completion fish | source."""
    from datasetkit.cli.group import app

    kind = get_completion_class(options.shell)
    if kind is not None:
        screen.show(Script(kind(app, {}, "datasetkit", "_DATASETKIT_COMPLETE").source()))


def doctor(options: DoctorCommand, screen: Screen) -> None:
    """For each part that does not work, the command that fixes it; plug-ins with their distribution and version.

    With --preset, whether its models will run here: weights, Hub, disk, device, memory and packages, each with its
    cure. Exit code 1 where something is to be done first.
    """
    if options.grounding() is None:
        found = examine()
        screen.show(found, is_failure=not found.is_sound)
    else:
        ready = examine_preset(options)
        screen.show(ready, is_failure=not ready.is_ready)
