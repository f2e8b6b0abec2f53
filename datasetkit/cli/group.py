"""All commands by name. Owns the table of them, and how a command line is run from its words to an exit code."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from datasetkit import __version__
from datasetkit.cli.border import end, printing
from datasetkit.cli.lazy import Lazy, LazyGroup

DATASET, HEADS, TOOLS = "Dataset", "Attention heads", "Tools"
COMMANDS = {
    "build": Lazy(DATASET, "datasetkit.cli.build:build", "Build a dataset from images."),
    "verify": Lazy(DATASET, "datasetkit.cli.dataset:verify", "Check every shard, image, mask, span, id and count."),
    "stats": Lazy(DATASET, "datasetkit.cli.dataset:stats", "Print what is in a dataset and draw its plots."),
    "preview": Lazy(DATASET, "datasetkit.cli.dataset:preview", "Write one page of images, masks and descriptions."),
    "card": Lazy(DATASET, "datasetkit.cli.dataset:card", "Write the dataset card again."),
    "export": Lazy(DATASET, "datasetkit.cli.dataset:export", "Write a dataset in another format."),
    "push": Lazy(DATASET, "datasetkit.cli.dataset:push", "Publish a dataset or an adapter."),
    "score": Lazy(HEADS, "datasetkit.cli.heads:score", "Score how much each head looks at the key objects."),
    "knockout": Lazy(HEADS, "datasetkit.cli.heads:knockout", "Block attention between tokens, layer by layer."),
    "ablate": Lazy(HEADS, "datasetkit.cli.heads:ablate", "Take heads out, and measure what is lost."),
    "sparsify": Lazy(HEADS, "datasetkit.cli.heads:sparsify", "Keep full attention for a few heads, and measure it."),
    "tune": Lazy(HEADS, "datasetkit.cli.heads:tune", "Tune an adapter on the layers or heads that matter."),
    "compare": Lazy(HEADS, "datasetkit.cli.heads:compare", "Tune several selections, and compare them."),
    "report": Lazy(HEADS, "datasetkit.cli.heads:report", "Join all results of a model on one page."),
    "models": Lazy(TOOLS, "datasetkit.cli.models:models", "List, fetch and check the models of a preset."),
    "doctor": Lazy(
        TOOLS,
        "datasetkit.cli.tools:doctor",
        "Check which models work on this machine, or whether a preset will run here.",
    ),
    "completion": Lazy(TOOLS, "datasetkit.cli.tools:completion", "Print a script that completes commands."),
}


class Main(LazyGroup):
    """All commands; whatever goes wrong ends in one line and an exit code."""

    def main(  # type: ignore[override] # fewer by place
        self,
        args: Sequence[str] | None = None,
        prog_name: str = "datasetkit",
        *,
        standalone_mode: bool = True,
        **more: Any,
    ) -> int:
        """Run a command; return the exit code, or exit with it in ``standalone_mode``."""
        # Before any of them is imported: bars of libraries would run through ours.
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        logging.raiseExceptions = False  # a log file that is full is no error of the command
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names and bars in a terminal that is not UTF-8
        if args is None:
            args = click.utils._expand_args(sys.argv[1:]) if os.name == "nt" else sys.argv[1:]
        typed = tuple(args)
        try:
            self._run(typed, prog_name, more)
            code = 0
        except click.exceptions.Exit as error:
            code = error.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place for all
            code = end(error, as_json="--json" in typed, debug="--debug" in typed)
        return sys.exit(code) if standalone_mode else code

    def _run(self, typed: Sequence[str], name: str, more: dict[str, Any]) -> None:
        """Run a command as click does, which would end some errors in its own ways."""
        with printing():
            self._main_shell_completion({}, name)
            try:
                with self.make_context(name, list(typed), obj=typed, **more) as context:
                    self.invoke(context)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()


@click.group(
    name="datasetkit",
    cls=Main,
    table=COMMANDS,
    help="Datasets of images, key-object masks and descriptions: build, check, look at, publish and use them.",
    no_args_is_help=True,
)
@click.version_option(__version__, message="datasetkit %(version)s", help="Print the version.")
def app() -> None:
    """Run the group of commands."""
