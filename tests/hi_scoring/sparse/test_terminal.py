"""Tables that ``datasetkit sparsify`` prints last."""

from __future__ import annotations

import pytest
from rich.table import Table

from datasetkit.hi_scoring.sparse.folder import Sparsity, sparsity_tables
from datasetkit.hi_scoring.sparse.results import ConditionResult
from tests.hi_scoring.sparse.made import answers, lost, prefills, result
from tests.hi_scoring.sparse.measured import conditions

PLAN = conditions()[1].plan


def tables(*results: ConditionResult) -> list[Table]:
    groups: dict[str, tuple[ConditionResult, ...]] = {}
    for one in results:
        groups[one.group] = (*groups.get(one.group, ()), one)
    assert PLAN is not None
    return list(sparsity_tables(Sparsity(PLAN, groups)))


def several(right: float, **columns: list[float]) -> dict[str, object]:
    """Results of four prompts."""
    return {"table": prefills(**{"seconds": [1.0, 0.5, 0.8, 2.0], **columns}), "measured": answers([1, right, 1, 0])}


def cells(table: Table, column: str) -> list[object]:
    [found] = [one for one in table.columns if one.header == column]
    return list(found.cells)


def test_every_group_is_there() -> None:
    costs, quality = tables(
        result("dense", **several(1), coverage={"sparse": 0, "dense": {}}),
        result("core", **several(0)),
        *(result("random", **several(0.5), draw=draw) for draw in range(2)),
    )
    assert cells(costs, "") == ["dense", "core", "random (2)"]
    assert cells(costs, "sparse") == ["-", "100 %", "100 %"]
    assert cells(costs, "times as fast")[0].startswith("2.25 (1.00 to ")
    assert cells(quality, "") == ["Right answers", "", "", ""]
    assert cells(quality, "kept") == ["dense", "core", "random (2)", "core"]
    assert "memory ran out" not in str(costs.caption)


def test_lost_prompts_are_reported() -> None:
    losing = several(0)
    lost(losing["table"], 1)
    costs, _ = tables(result("dense", **several(1)), result("core", **losing))
    assert str(costs.caption).endswith("prompts left out because memory ran out: core 1")


@pytest.mark.parametrize(("count", "told"), [(1, "2.00"), (0, "-")])
def test_one_prompt_has_no_interval(count: int, told: str) -> None:
    table = prefills(seconds=[1.0])
    costs, _ = tables(result("dense"), result("core", table if count else lost(table, 0)))
    assert cells(costs, "times as fast")[1] == told


def test_dense_layers_are_reported() -> None:
    coverage = {"sparse": 3, "dense": {"hides_little": 8, "gaps": 1}}
    *_, dense = tables(result("dense"), result("core", coverage=coverage))
    assert cells(dense, "count") == ["8", "1"]
    assert str(dense.title) == "layers of prompts that stayed dense, of 12"
