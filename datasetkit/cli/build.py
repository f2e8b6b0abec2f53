"""``datasetkit build``: one command per source, generated from its options. Owns the message for an unknown source."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import click

from datasetkit.cli.commands import command
from datasetkit.cli.screen import Screen
from datasetkit.core.errors import DatasetkitError, PluginError, SourceFailedError
from datasetkit.options.base import Options, Typed
from datasetkit.options.build import BuildOptions, DryRunOptions, RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.options.sources import SOURCES, SourceOptions, guess_source, options_of_source

_RECIPE = "recipe"
_DRY_RUN = "--dry-run"


class RecipeFile(Options):
    """Build from a recipe file."""

    recipe: Annotated[Path, Typed("PATH", is_argument=True)]
    """Recipe file in YAML; every build writes one to OUT."""
    root: Path | None = None
    """Folder that relative paths in the recipe start at.  [default: folder of the recipe]"""
    allow_code: bool = False
    """Import classes that the recipe names (package.module:Class)."""


class Sources(click.Group):
    """One command per source; plug-ins are imported when they are run or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all sources."""
        return [*SOURCES.names, _RECIPE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a source, given by name or as ``package.module:Class``."""
        if cmd_name == _RECIPE:
            return command(cmd_name, (RecipeFile, RunOptions), from_recipe, RecipeFile.__doc__ or "")
        if not SOURCES.has(cmd_name):
            found = guess_source(cmd_name)
            hint = "" if found is None else f"; try: {ctx.command_path} {found.name} {cmd_name}"
            ctx.fail(f"there is no source {cmd_name!r}; known: {', '.join(self.list_commands(ctx))}{hint}")
        kind = options_of_source(cmd_name)
        others = BuildOptions.model_fields.keys() | Screen.model_fields.keys() | {"json"}
        taken = (kind.model_fields.keys() & others) - {"split"}
        if taken and SOURCES.origin(cmd_name) is not None:
            raise PluginError(f"{SOURCES.origin(cmd_name)}: {min(taken)} is an option of every build; rename it")
        return command(cmd_name, (kind, BuildOptions), from_source, kind.__doc__ or "")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of a source; with ``--dry-run`` the one that needs no ``--out``."""
        name, found, rest = super().resolve_command(ctx, args)
        if name is not None and _DRY_RUN in rest and SOURCES.has(name):
            kind = options_of_source(name)
            found = command(name, (kind, DryRunOptions), try_source, kind.__doc__ or "")
        return name, found, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sources, with an error in place of the help text of one that cannot be imported."""
        with formatter.section("Sources"):
            formatter.write_dl([(name, _summary(name)) for name in self.list_commands(ctx)])


def _summary(name: str) -> str:
    try:
        kind = RecipeFile if name == _RECIPE else options_of_source(name)
    except DatasetkitError as error:
        return str(error)
    return (kind.__doc__ or "").strip().split("\n", maxsplit=1)[0]


def from_source(source: SourceOptions, options: BuildOptions, screen: Screen) -> None:
    """Build from a source."""
    _build(options.recipe(source), options, screen)


def try_source(source: SourceOptions, options: DryRunOptions, screen: Screen) -> None:
    """Read the first entries of a source."""
    from datasetkit.api.trying import try_recipe  # late, as above

    screen.show(try_recipe(options.recipe(source)))


def from_recipe(file: RecipeFile, run: RunOptions, screen: Screen) -> None:
    """Build from a recipe file."""
    recipe = Recipe.read(file.recipe, file.root or file.recipe.parent, allow_code=file.allow_code)
    recipe.check_places()
    _build(recipe, run, screen)


def _build(recipe: Recipe, run: RunOptions, screen: Screen) -> None:
    from datasetkit.api.building import build_recipe  # late, so that errors in options are reported at once

    kept = "finished parts are kept" + (" (leave out --overwrite, which would delete them)" if run.overwrite else "")
    try:
        with screen.progress(unit="records", kept=kept) as bar:
            built = build_recipe(recipe, run, lambda step: bar(step.stage, step.done, step.total, step.detail))
    except SourceFailedError as error:
        typed = [word for word in click.get_current_context().find_root().obj if word != "--overwrite"]
        raise SourceFailedError(error.what, f"run: {shlex.join(['datasetkit', *typed])}") from error
    screen.show(built)


build = Sources("build", help="Build a dataset from images. A PATH or URI may also be remote: s3://bucket/prefix.")
