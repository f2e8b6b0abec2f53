"""All commands by name. Owns their table, and the way from a command line to an exit code."""

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
    "formats": Lazy(DATASET, "datasetkit.cli.tools:formats", "List the formats that `build from` reads."),
    "verify": Lazy(DATASET, "datasetkit.cli.dataset:verify", "Check every shard, image, mask, span, id and count."),
    "stats": Lazy(DATASET, "datasetkit.cli.dataset:stats", "Print statistics of a dataset, and plot them."),
    "preview": Lazy(DATASET, "datasetkit.cli.dataset:preview", "Write an HTML page of images, masks and descriptions."),
    "card": Lazy(DATASET, "datasetkit.cli.dataset:card", "Rewrite the dataset card."),
    "export": Lazy(DATASET, "datasetkit.cli.dataset:export", "Export a dataset to another format."),
    "push": Lazy(DATASET, "datasetkit.cli.dataset:push", "Publish a dataset or an adapter."),
    "score": Lazy(HEADS, "datasetkit.cli.heads:score", "Score how much each head attends to the key objects."),
    "knockout": Lazy(HEADS, "datasetkit.cli.heads:knockout", "Block attention between tokens, layer by layer."),
    "ablate": Lazy(HEADS, "datasetkit.cli.heads:ablate", "Ablate heads, and measure the loss."),
    "sparsify": Lazy(HEADS, "datasetkit.cli.heads:sparsify", "Keep full attention in few heads, and measure the cost."),
    "tune": Lazy(HEADS, "datasetkit.cli.heads:tune", "Tune an adapter on the layers or heads that matter."),
    "compare": Lazy(HEADS, "datasetkit.cli.heads:compare", "Tune and compare several selections of layers or heads."),
    "report": Lazy(HEADS, "datasetkit.cli.heads:report", "Summarize all results of a model on one page."),
    "models": Lazy(TOOLS, "datasetkit.cli.models:models", "List, fetch and check the models of a preset."),
    "doctor": Lazy(TOOLS, "datasetkit.cli.tools:doctor", "Check which models work here, or whether a preset will run."),
    "completion": Lazy(TOOLS, "datasetkit.cli.tools:completion", "Print a shell completion script."),
}


class Main(LazyGroup):
    """All commands; every error ends in one line and an exit code."""

    def main(  # type: ignore[override] # fewer positional arguments
        self,
        args: Sequence[str] | None = None,
        prog_name: str = "datasetkit",
        *,
        standalone_mode: bool = True,
        **more: Any,
    ) -> int:
        """Run a command; return the exit code, or exit with it in ``standalone_mode``."""
        # Before any library is imported: its progress bars would garble ours.
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        logging.raiseExceptions = False  # a full log file is not an error of the command
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
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
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the only handler of all errors
            code = end(error, as_json="--json" in typed, debug="--debug" in typed)
        return sys.exit(code) if standalone_mode else code

    def _run(self, typed: Sequence[str], name: str, more: dict[str, Any]) -> None:
        """Run a command as click does, but without its handling of some errors."""
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
    help="Build, check, view, publish and use datasets of images, key-object masks and descriptions.",
    no_args_is_help=True,
)
@click.version_option(__version__, message="datasetkit %(version)s", help="Print the version.")
def app() -> None:
    """Run a command."""
