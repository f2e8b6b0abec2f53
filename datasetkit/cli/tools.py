"""The commands ``formats``, ``doctor`` and ``completion``. Owns the supported shells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from click.shell_completion import get_completion_class

from datasetkit.api.doctor import examine
from datasetkit.cli.screen import Screen
from datasetkit.core.errors import DatasetkitError
from datasetkit.core.results import Result
from datasetkit.options.base import Options, Typed
from datasetkit.options.build import DoctorCommand
from datasetkit.options.sources import READERS


class CompletionOptions(Options):
    """The shell."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Typed("[bash|zsh|fish]", is_argument=True)] = "bash"
    """Shell that will run the script.  [default: bash]"""


@dataclass(frozen=True, slots=True)
class Script(Result):
    """A shell completion script."""

    script: str

    def report(self) -> Iterator[str]:
        """Yield the script."""
        yield self.script


class FormatsOptions(Options):
    """There are no options."""


@dataclass(frozen=True, slots=True)
class Formats(Result):
    """Formats by name, each with one line about it, or with the error of a plug-in."""

    formats: dict[str, str]

    def report(self) -> Iterator[str]:
        """Yield a line per format."""
        width = max(map(len, self.formats))
        for name, summary in self.formats.items():
            yield f"{name:{width}}  {summary}"


def formats(options: FormatsOptions, screen: Screen) -> None:  # noqa: ARG001 - commands take options
    """Where the content of data leaves a choice, `build from --format NAME` makes it."""
    screen.show(Formats({name: _summary(name) for name in READERS.names}))


def _summary(name: str) -> str:
    try:
        return str(READERS.load(name).summary)
    except (DatasetkitError, AttributeError) as error:
        return f"does not work: {error}"


def completion(options: CompletionOptions, screen: Screen) -> None:
    """Usage in bash and zsh: eval "$(datasetkit completion bash)". In fish: datasetkit completion fish | source."""
    from datasetkit.cli.group import app

    kind = get_completion_class(options.shell)
    if kind is not None:
        screen.show(Script(kind(app, {}, "datasetkit", "_DATASETKIT_COMPLETE").source()))


def doctor(options: DoctorCommand, screen: Screen) -> None:
    """Print versions, devices, and whether each kind of model, plug-in and shipped model works here.

    A part that does not work is followed by the command that fixes it; plug-ins have their distribution and version.

    With --preset, check whether its models will run here: weights, Hub, disk, device, memory and packages, each with
    its cure. Exit code 1 if something has to be done first.
    """
    if options.grounding() is None:
        found = examine()
        screen.show(found, is_failure=not found.is_sound)
    else:
        from datasetkit.api.doctor_preset import examine_preset  # imports the Hub client; completion does not need it

        ready = examine_preset(options)
        screen.show(ready, is_failure=not ready.is_ready)
