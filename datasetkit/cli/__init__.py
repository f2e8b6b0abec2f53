"""The command ``datasetkit``. Owns what a person types and reads; everything else is done by the packages below."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from datasetkit import __version__
from datasetkit.cli.lazy import Lazy, LazyGroup
from datasetkit.core.errors import DatasetkitError
from datasetkit.core.text import one_line

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
    "doctor": Lazy(TOOLS, "datasetkit.cli.tools:doctor", "Check which models work on this machine."),
    "completion": Lazy(TOOLS, "datasetkit.cli.tools:completion", "Print a script that completes commands."),
}


class Main(LazyGroup):
    """All commands; what is wrong with how one was typed ends in one line."""

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **more: Any) -> Any:  # type: ignore[override] # fewer by place
        """Run a command; what is wrong with how it was typed ends in one line, too."""
        # Before any of them is imported: bars of libraries would run through ours.
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        logging.raiseExceptions = False  # a log file that is full is no error of the command
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names and bars in a terminal that is not UTF-8
        try:
            typed = tuple(sys.argv[1:] if args is None else args)
            code = super().main(args, standalone_mode=False, obj=typed, **more)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except DatasetkitError as error:
            code = _end(one_line(error), error.exit_code, args)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EBADF, errno.EIO}:
                raise
            code = _end(f"stdout cannot be written: {error.strerror}", 1, args)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            where = f"; see {context.command_path} --help" if context is not None else ""
            code = _end(f"{one_line(error.format_message()).rstrip('.')}{where}", error.exit_code, args)
        except click.Abort:
            code = 1
        return sys.exit(code or 0) if standalone_mode else code


def _end(message: str, code: int, args: Sequence[str] | None) -> int:
    """Report what is wrong before any command could, and return the exit code."""
    if "--json" in (sys.argv[1:] if args is None else args):
        with contextlib.suppress(OSError):
            click.echo(json.dumps({"error": message}))
    click.echo(f"error: {message}", err=True)
    return code


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


def main() -> None:
    """Run the command line."""
    app(prog_name="datasetkit")
