"""``datasetkit tune``: tune an adapter on what was selected. Owns its command line."""

from __future__ import annotations

from typing import Annotated

import typer

from datasetkit.cli.asking import RowsName
from datasetkit.cli.options import ModelName, takes
from datasetkit.cli.tuning import LAST_SEED, TuneOptions, run


@takes(TuneOptions)
def tune(
    model: ModelName,
    data: RowsName,
    select: Annotated[
        str,
        typer.Option(
            help="What is tuned: top-layers:K, bottom-layers:K, random-layers:K:SEED, layers:1,5,9, all, top-heads:K, "
            "bottom-heads:K or random-heads:K:SEED.",
            show_default=False,
        ),
    ],
    *,
    seed: Annotated[
        int, typer.Option(min=0, max=LAST_SEED, help="Of the adapter's first weights and of the order of rows.")
    ] = 0,
    options: TuneOptions,
) -> None:
    """Tune an adapter on the layers or heads that matter, and test the model before and after.

    Interrupted, the same command goes on. Under torchrun or accelerate launch, processes train together.
    """
    run(model, data, [select], [seed], (0, 1), "datasetkit tune", options)
