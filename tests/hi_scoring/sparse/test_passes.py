"""Single layers of a sparsified model: all mixtures of heads compared with whole masks, on several devices."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from datasetkit.hi_scoring.sparse import SparsePlan, blocks
from datasetkit.hi_scoring.sparse.coverage import Coverage
from datasetkit.hi_scoring.sparse.passes import ForwardPass
from tests.hi_scoring.sparse.references import IDENTITY, IMAGE, attended, visible

pytestmark = pytest.mark.numeric

H, N, WIDTH, SINK, WINDOW, SCALING = 4, 90, 16, 1, 8, 0.3
IDS = torch.full((1, N), IMAGE)
IDS[0, [0, 1, 40, 41, N - 1]] = 0


class Layer(nn.Module):
    """The attributes of a layer's attention that its function uses."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.layer_idx = number


def parts(groups: int, device: str = "cpu") -> tuple[Tensor, ...]:
    """Queries, keys and values, (1, heads, N, WIDTH)."""
    generator = torch.Generator().manual_seed(groups)
    return tuple(
        torch.randn(1, heads, N, WIDTH, generator=generator, dtype=torch.float64).to(device)
        for heads in (H, groups, groups)
    )


def pass_of(*full: tuple[int, ...], slots: int | None = None) -> ForwardPass:
    plan = SparsePlan(IDENTITY, H, full, sink=SINK, window=WINDOW, dense_above=1.0)
    return ForwardPass(plan, Coverage(), IDS, [IMAGE], "blocks", slots)


def real(device: str = "cpu") -> Tensor:
    return torch.ones(1, N, dtype=torch.bool, device=device)


@pytest.mark.parametrize("slots", [None, N - 7])
@pytest.mark.parametrize(("groups", "full"), list(product([1, 2, 4], [(), (0,), (2, 3), (0, 1, 3), (0, 1, 2, 3)])))
def test_full_heads_see_all_and_sparse_heads_less(groups, full, slots):
    query, key, value = parts(groups)
    ours = pass_of(full, slots=slots).attend(Layer(0), query, key, value, real(), {"scaling": SCALING})
    every = torch.ones(N, N, dtype=torch.bool).tril()
    seen = visible(IDS[0] == 0, real()[0], SINK, WINDOW, slots or N)
    expected = attended(query[0], key[0], value[0], seen, SCALING)
    expected[:, full] = attended(query[0], key[0], value[0], every, SCALING)[:, full]
    assert (ours[0] - expected).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("groups", "full", "computed"),
    [
        *((4, (), [4]), (4, (1,), [3]), (4, (0, 1, 3), [1]), (1, (0, 1, 2), [1])),
        *((2, (1,), [2]), (2, (0, 1), [1]), (2, (0, 1, 2), [1])),
    ],
)
def test_groups_of_full_heads_are_not_computed_twice(groups, full, computed, monkeypatch):
    asked = []
    attended = blocks._attended
    monkeypatch.setattr(
        blocks, "_attended", lambda one, query, *more: asked.append(len(query)) or attended(one, query, *more)
    )
    pass_of(full).attend(Layer(0), *parts(groups), real(), {"scaling": SCALING})
    assert asked == computed


def test_layers_may_be_on_different_devices():
    """Each device has a separate copy of the state that layers share."""
    one = pass_of((), (0,), ())
    query, key, value = parts(2)
    first = one.attend(Layer(0), query, key, value, real(), {"scaling": SCALING})
    elsewhere = one.attend(Layer(1), *parts(2, "meta"), real("meta"), {"scaling": SCALING})
    again = one.attend(Layer(2), query, key, value, real(), {"scaling": SCALING})
    assert (elsewhere.device.type, elsewhere.shape) == ("meta", (1, N, H, WIDTH))
    assert torch.equal(first, again)
