"""Options of ablation. Owns their names, ranges and defaults; every result says which were used."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from datasetkit.options.base import Options

Mode = Literal["zero", "mean", "resample"]
MODES: tuple[Mode, ...] = get_args(Mode)


class AblationOptions(Options):
    """Which heads are taken out, and what stands in their place.

    Args:
        modes: what a head puts out instead: nothing (``zero``); its mean output over the very rows that are asked, at
            image tokens that over image tokens and elsewhere that over all others (``mean``); what it puts out for
            another picture of these rows (``resample``).
        doses: how many heads, as shares of all; each is rounded up to a whole number.
        draws: random sets of heads for each dose, fewer where fewer differ. Their spread is what top heads are held
            against: fewer than 5 tell little of it, and hardly any difference stands out from 2.
        seed: of the examples that resampling takes from; the seeds of random sets count up from it.

    """

    modes: tuple[Mode, ...] = Field(default=MODES, min_length=1)
    doses: tuple[Annotated[float, Field(gt=0.0, le=0.5)], ...] = Field(
        default=(0.01, 0.02, 0.05, 0.1, 0.2), min_length=1
    )
    draws: int = Field(default=10, ge=2)
    seed: int = Field(default=0, ge=0)

    @field_validator("modes")
    @classmethod
    def _each_once(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        if len(set(modes)) != len(modes):
            raise ValueError(f"modes are {', '.join(modes)}; name each of them once")
        return modes
