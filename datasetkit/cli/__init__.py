"""The command ``datasetkit``. Owns what a person types and reads; everything else is done by the packages below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from datasetkit import __version__
from datasetkit.cli import build, inspect
from datasetkit.cli.ablate import ablate
from datasetkit.cli.compare import compare
from datasetkit.cli.doctor import doctor
from datasetkit.cli.export import export
from datasetkit.cli.knockout import knockout
from datasetkit.cli.publish import push
from datasetkit.cli.report import report
from datasetkit.cli.score import score
from datasetkit.cli.sparsify import sparsify
from datasetkit.cli.tune import tune
from datasetkit.core.errors import DatasetkitError

app = typer.Typer(
    name="datasetkit",
    help="Datasets of images, key-object masks and descriptions: build, check, look at, publish and use them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(build.app, name="build")
app.command("verify")(inspect.verify)
app.command("stats")(inspect.stats)
app.command("preview")(inspect.preview)
app.command("card")(inspect.card)
app.command("push")(push)
app.command("export")(export)
app.command("score")(score)
app.command("tune")(tune)
app.command("compare")(compare)
app.command("knockout")(knockout)
app.command("ablate")(ablate)
app.command("sparsify")(sparsify)
app.command("report")(report)
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"datasetkit {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - read by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before every command."""
    if not debug:
        context.with_resource(_errors_as_one_line())


@contextmanager
def _errors_as_one_line() -> Iterator[None]:
    try:
        yield
    except DatasetkitError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command line."""
    app(prog_name="datasetkit")
