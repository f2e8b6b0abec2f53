"""Help texts of every command: they fit a terminal of 80 columns without truncation."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from datasetkit.cli import app


def paths(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, groups included."""
    yield path
    for name in group.list_commands(click.Context(group)):
        try:
            found = group.get_command(click.Context(group), name)
        except ModuleNotFoundError:
            continue
        if isinstance(found, click.Group):
            yield from paths(found, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(paths(app)), ids=" ".join)
def test_help_fits_80_columns_and_is_whole(path: tuple[str, ...]) -> None:
    found: click.Command = app
    for name in path:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name) or found
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    shown = "".join(done.stdout.split())
    context = click.Context(found)
    for option in found.get_params(context):
        record = option.get_help_record(context)
        assert record is not None, option.name
        assert record[1].strip(), f"{option.name} has no help text"
        assert "".join(record[1].split()) in shown, option.name
