"""Where a head attends."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datasetkit.hi_scoring.scores.formulas.spatial import pointing, spatial_entropy
from tests.hi_scoring.scores.formulas import references

pytestmark = pytest.mark.numeric

NAN = math.nan

maps = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)),
    elements=st.integers(0, 40).map(float),
)


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], 0.0),
        ([[9, 0, 0], [0, 9, 0], [0, 0, 0]], 0.0),  # corners touch: one part
        ([[9, 0, 9], [0, 0, 0], [0, 0, 0]], math.log(2)),
        ([[9, 0, 9], [0, 0, 0], [9, 0, 9]], math.log(4)),
        ([[0.3, 0.3], [0.3, 0.3]], NAN),
        ([[0, 0], [0, 0]], NAN),
        ([[100, 0, 13], [0, 0, 0], [0, 0, 0]], 0.0),  # 13 is above the mean, but by less than 5 % of the maximum
    ],
)
def test_entropy_of_small_maps(attention: list[list[float]], expected: float) -> None:
    found = spatial_entropy(torch.tensor([attention], dtype=torch.float32))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


@given(maps)
def test_entropy_equals_that_of_flood_filled_parts(attention: np.ndarray) -> None:
    found = spatial_entropy(torch.from_numpy(attention))
    expected = [references.entropy(head.astype(np.float64)) for head in attention]
    assert found.tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_parts_of_one_head_never_join_those_of_the_next() -> None:
    one, other = torch.zeros(3, 3), torch.zeros(3, 3)
    one[0, 0] = one[2, 2] = 1.0
    other[1, 1] = 1.0
    assert spatial_entropy(torch.stack([one, other, one])).tolist() == pytest.approx([math.log(2), 0, math.log(2)])


@pytest.mark.parametrize(
    ("attention", "expected"),
    [([0.1, 0.5, 0.2], 1.0), ([0.5, 0.1, 0.2], 0.0), ([0.5, 0.5, 0.1], 0.5), ([0.2, 0.2, 0.2], 1 / 3)],
)
def test_pointing_counts_ties_as_their_mean(attention: list[float], expected: float) -> None:
    found = pointing(torch.tensor([attention]), torch.tensor([0.0, 1.0, 0.0]).double())
    assert found["pointing"].tolist() == pytest.approx([expected])
    assert found["pointing_chance"].tolist() == pytest.approx([1 / 3])


def test_pointing_without_evidence_is_undefined() -> None:
    found = pointing(torch.rand(2, 4), torch.zeros(4).double())
    assert found["pointing"].isnan().all()
    assert found["pointing_chance"].isnan().all()
