"""Knockouts in the terminal: where each flow costs most, compared with its control, and flows without a control."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from rich.console import Console

from datasetkit.hi_scoring.interventions.knockout import FlowResult, QuestionResult
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts, knockout_tables
from datasetkit.hi_scoring.interventions.knockout_tables import PART_SCHEMA, KnockoutTables, part_row
from tests.hi_scoring.interventions.asking import question

NONE = np.full(3, np.nan)


def shown(*flows: dict[str, FlowResult]) -> list[str]:
    """Print the first table for questions on separate images in which these flows were blocked."""
    rows = [
        part_row(
            question(row=place, picture_id=f"image-{place}"),
            QuestionResult("red", True, 0.5, found, np.full((2, 4, 4), 0.5)),
        )
        for place, found in enumerate(flows)
    ]
    tables = KnockoutTables.of(pa.Table.from_pylist(rows, PART_SCHEMA), only_correct=True)
    names = list(dict.fromkeys(name for found in flows for name in found))
    facts = {"options": {"only_correct": True, "flows": names}}
    stream = io.StringIO()
    Console(width=80, file=stream).print(next(knockout_tables(Knockouts.of(tables, facts))))
    return [line.removeprefix(" ").rstrip() for line in stream.getvalue().splitlines()]


def flow(*remaining: float, control: np.ndarray = NONE, overlap: float = 0.0) -> FlowResult:
    return FlowResult(np.array(remaining), control, overlap)


def cells(lines: list[str], start: str) -> list[str]:
    [line] = [line for line in lines if line.startswith(start)]
    return line.removeprefix(start).split()


def test_flows_are_shown_at_their_largest_drops() -> None:
    control = np.array([1.0, 0.5, 1.0])
    lines = shown(*[{"image -> last": flow(0.8, 0.4, 0.6, control=control)}] * 3)
    assert cells(lines, "image -> last") == ["3", "1", "-60.0", "-60.0", "to", "-60.0"]
    assert cells(lines, "  beyond random edges") == ["3", "2", "-40.0", "-40.0", "to", "-40.0"]
    assert not any("no control" in line or line.startswith("*") for line in lines)


def test_picked_layer_has_the_simultaneous_interval() -> None:
    """The pointwise interval of layer 1 is -27.5 to -12.5, which ignores that the lowest of three layers was picked."""
    values = ((0.9, 0.7, 1.1), (1.1, 0.9, 0.8), (0.95, 0.75, 1.2), (1.05, 0.85, 0.9))
    lines = shown(*[{"image -> last": flow(*one)} for one in values])
    assert cells(lines, "image -> last") == ["4", "1", "-20.0", "-30.0", "to", "-10.0"]


def test_overlap_is_shown_instead_of_a_control() -> None:
    without = flow(0.5, 0.5, 0.4, overlap=0.93)
    partly = flow(0.5, 0.7, 0.8, control=np.ones(3), overlap=0.25)
    lines = shown(
        {"image -> last": without, "question -> last": flow(0.9, 1.0, 1.0, control=np.ones(3), overlap=0.25)},
        {"image -> last": without, "question -> last": flow(0.9, 1.0, 1.0, overlap=0.6)},
        {"image -> last": without, "question -> last": partly},
    )
    place = next(place for place, line in enumerate(lines) if line.startswith("image -> last"))
    assert lines[place + 1].startswith("question -> last")
    assert cells(lines, "  beyond random edges*")[:3] == ["2", "0", "-30.0"]
    told = " ".join(lines[place:])
    assert "no control: most random edges would belong to the flow: image -> last (93 %)" in told
    assert "* queries see too few other keys: some of the random edges belong to the flow" in told
    assert "n of random edges below that of their flow" in told


def test_questions_without_a_set_are_reported() -> None:
    one = flow(0.5, 0.7, 0.8, control=np.ones(3))
    lines = shown({"options -> last": one, "image -> last": one}, {"image -> last": one})
    assert cells(lines, "options -> last")[0] == "1"
    assert "-" in cells(lines, "options -> last")
    assert "n of a flow below 2: the other questions lack such tokens" in " ".join(lines)
