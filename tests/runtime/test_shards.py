"""Shards of job arrays: what users type, and what clusters set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import RecipeError
from datasetkit.runtime.engines.shards import Shard


@given(st.integers(1, 50), st.integers(0, 500))
def test_every_task_is_of_exactly_one_shard(count: int, number: int) -> None:
    assert [Shard.read(f"{index}/{count}").has(number) for index in range(count)].count(True) == 1


@pytest.mark.parametrize("text", ["", "1", "3/3", "-1/3", "0/0", "1/2/3", "a/b", "0/-2", "1.0/2"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="INDEX/COUNT"):
        Shard.read(text)


def slurm(index: int, least: int, most: int, count: int, step: int | None = None) -> dict[str, str]:
    found = {"ID": index, "MIN": least, "MAX": most, "COUNT": count}
    found |= {} if step is None else {"STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("variables", "shard"),
    [
        (slurm(0, 0, 7, 8), "0/8"),
        (slurm(8, 1, 8, 8), "7/8"),
        (slurm(5, 1, 9, 5, 2), "2/5"),
        (slurm(0, 0, 0, 1), "0/1"),
        (slurm(2, 0, 3, 4) | {"RANK": "0", "WORLD_SIZE": "1"}, "2/4"),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, "3/4"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, "1/2"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "1/2"),
    ],
)
def test_shard_of_a_cluster(variables: dict[str, str], shard: str) -> None:
    assert str(Shard.of_environment(variables)) == shard


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "nothing says which shard"),
        (slurm(3, 0, 7, 3), "has gaps"),
        (slurm(3, 3, 3, 1), "begins after 1"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "incomplete"),
        ({"JOB_COMPLETION_INDEX": "3"}, r"--shard \$\(JOB_COMPLETION_INDEX\)/COUNT"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "which is no shard"),
    ],
)
def test_variables_that_determine_no_shard_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Shard.of_environment(variables)
