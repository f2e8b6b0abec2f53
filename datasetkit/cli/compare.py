"""``datasetkit compare``: tune several selections, and set them against each other. Owns its command line."""

from __future__ import annotations

from typing import Annotated

import typer

from datasetkit.cli.asking import RowsName
from datasetkit.cli.options import ModelName, takes
from datasetkit.cli.tuning import LAST_SEED, TuneOptions, run
from datasetkit.core.errors import RecipeError


@takes(TuneOptions)
def compare(
    model: ModelName,
    data: RowsName,
    select: Annotated[
        list[str],
        typer.Option(
            help="As of tune; repeatable. random-layers:K and random-heads:K without a seed are drawn anew for each "
            "of the seeds.",
            show_default=False,
        ),
    ],
    *,
    seeds: Annotated[str, typer.Option(help="Of the runs of each selection; comma-separated.")] = "0,1,2",
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Run every N-th cell, from the I-th on; the last to end reports.")
    ] = "1/1",
    options: TuneOptions,
) -> None:
    """Tune several selections with several seeds, and set their shifts from the untuned model against each other.

    Interrupted, the same command goes on; with more selections or seeds, it adds to what is there.
    """
    run(model, data, select, _seeds(seeds), _shard(shard), "datasetkit compare", options)


def _seeds(text: str) -> list[int]:
    seeds = [one.strip() for one in text.split(",")]
    if not all(one.isdecimal() and int(one) <= LAST_SEED for one in seeds):
        raise RecipeError(f"--seeds {text}: give whole numbers from 0 to {LAST_SEED}, as 0,1,2")
    return [int(one) for one in seeds]


def _shard(text: str) -> tuple[int, int]:
    number, _, processes = text.partition("/")
    if not (number.isdecimal() and processes.isdecimal() and 1 <= int(number) <= int(processes)):
        raise RecipeError(f"--shard {text}: give I/N, as 1/4, with I from 1 to N")
    return int(number) - 1, int(processes)
