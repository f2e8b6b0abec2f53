"""Options of attention knockout. Owns names, ranges and defaults; results say which were used."""

from __future__ import annotations

from pydantic import Field, field_validator

from datasetkit.hi_scoring.interventions.positions import FLOWS, Flow
from datasetkit.options.base import Options


class KnockoutOptions(Options):
    """What is blocked, and of which questions.

    Args:
        flows: names of the flows that are blocked, each by itself, such as ``image -> last``.
        window: how many layers around each layer edges are blocked in.
        heads: layer and number of the heads whose edges are blocked; None for all heads.
        only_correct: whether questions that the model answers wrong are left out.
        answer_tokens: how much the model may write in answer.
        seed: of the random edges.

    """

    flows: tuple[str, ...] = Field(default=tuple(flow.name for flow in FLOWS), min_length=1)
    window: int = Field(default=9, ge=1)
    heads: tuple[tuple[int, int], ...] | None = None
    only_correct: bool = True
    answer_tokens: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("flows")
    @classmethod
    def _each_once(cls, flows: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(Flow.of(text).name for text in flows)
        if len(set(names)) != len(names):
            raise ValueError(f"flows are {', '.join(names)}; name each of them once")
        return names
