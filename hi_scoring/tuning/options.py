"""Options of training. Owns their names, ranges and defaults; every adapter says which were used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from datasetkit.options.base import Options


class TrainingOptions(Options):
    """How an adapter is trained.

    Args:
        steps: updates of the weights.
        batch: examples in one forward pass of one process.
        accumulate: forward passes before each update.
        learning_rate: its highest value.
        schedule: how the learning rate falls, by transformers' name.
        warmup: share of the steps in which it rises from 0.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        mixed_precision: type of activations; the model's own where ``no``.
        gradient_checkpointing: compute activations twice in place of keeping them.
        save_every: steps from one checkpoint to the next.
        patience: with a validation split, after how many checkpoints without a lower loss training stops, to keep the
            best; None trains all steps and keeps the last.

    """

    steps: int = Field(default=500, ge=1)
    batch: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.03
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip: Annotated[float, Field(gt=0.0)] = 1.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    save_every: int = Field(default=100, ge=1)
    patience: int | None = Field(default=None, ge=1)
