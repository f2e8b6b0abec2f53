"""Block attention and its compiled counterpart compared with attention under a whole mask, on random prompts."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import flex_attention

from datasetkit.hi_scoring.sparse import blocks
from datasetkit.hi_scoring.sparse.blocks import BlockAttention
from datasetkit.hi_scoring.sparse.flex import BLOCK, FlexAttention, rounded_up
from tests.hi_scoring.sparse.references import attended, prompt_of, visible

SCALING, TOLERANCE = 0.3, 1e-9


def tokens(length: int, texts: list[int], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens are text, and which are real: text at these indices (modulo length), padding on the left."""
    text = torch.zeros(length, dtype=torch.bool)
    if texts:
        text[[place % length for place in texts]] = True
    real = torch.arange(length) >= padding
    return text & real, real


def parts(length: int, heads: int, groups: int, width: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(length)
    return tuple(
        # Peaked attention, so that one key more or less makes a difference.
        4 * torch.randn(count, length, width, generator=generator, dtype=torch.float64)
        for count in (heads, groups, groups)
    )


@pytest.mark.numeric
@settings(max_examples=80, deadline=None)
@given(
    length=st.integers(1, 330),
    window=st.integers(1, 400),
    sink=st.integers(0, 20),
    texts=st.lists(st.integers(0, 400), max_size=40),
    padding=st.integers(0, 50),
    groups=st.sampled_from([1, 2, 4]),
    budget=st.sampled_from([1, 60_000, 2**23]),
)
@example(length=300, window=1, sink=0, texts=[], padding=0, groups=4, budget=1)
@example(length=256, window=64, sink=0, texts=[0, 63, 64, 127, 128, 255], padding=0, groups=2, budget=2**23)
def test_blocks_equal_a_whole_mask(length, window, sink, texts, padding, groups, budget):
    padding = min(padding, length - 1)
    text, real = tokens(length, texts, padding)
    prompt = prompt_of(text, real, sink, window)
    assert (prompt.start, prompt.stop) == (padding, length)
    seen = visible(text, real, sink, window, length)[padding:, padding:]
    assert prompt.visible == pytest.approx(float(seen.sum() / torch.ones_like(seen).tril().sum()))
    query, key, value = parts(prompt.length, 4, groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blocks._SEGMENT_BYTES, "cpu", budget)
        ours = BlockAttention(prompt.shared, prompt.length, window, key).attend(query, key, value, SCALING)
    assert ours.shape == (prompt.length, 4, 8)
    assert (ours - attended(query, key, value, seen, SCALING)).abs().max() < TOLERANCE


@pytest.mark.numeric
@pytest.mark.parametrize("layout", ["heads first", "tokens first"])
def test_blocks_accept_memory_layouts_of_models(layout):
    query, key, value = parts(200, 4, 2)
    if layout == "tokens first":
        query, key, value = (part.transpose(0, 1).contiguous().transpose(0, 1) for part in (query, key, value))
    shared = np.array([0, 1, 150])
    text = torch.zeros(200, dtype=torch.bool)
    text[shared] = True
    seen = visible(text, torch.ones(200, dtype=torch.bool), 0, 16, 200)
    ours = BlockAttention(shared, 200, 16, key).attend(query, key, value, SCALING)
    assert (ours - attended(query, key, value, seen, SCALING)).abs().max() < TOLERANCE


def test_blocks_keep_short_types():
    query, key, value = (part.bfloat16() / 4 for part in parts(200, 4, 2))
    ours = BlockAttention(np.arange(3), 200, 16, key).attend(query, key, value, SCALING)
    seen = visible(torch.arange(200) < 3, torch.ones(200, dtype=torch.bool), 0, 16, 200)
    assert ours.dtype == torch.bfloat16
    assert (ours - attended(query, key, value, seen, SCALING)).abs().max() < 0.02


def test_no_mask_or_copy_grows_with_the_square():
    """Twice the length needs twice the numbers: the largest tensor of blocks is that of a segment."""
    sizes = []
    for length in (2000, 4000):
        _, key, _ = parts(length, 1, 1)
        segments = BlockAttention(np.arange(8), length, 64, key)._segments
        sizes.append(sum(segment.mask.numel() for segment in segments))
    assert sizes[1] < 2.1 * sizes[0]
    assert sizes[1] < 4000**2 / 10


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("length", "window", "sink", "texts"),
    [
        (300, 40, 4, [60, 61, 290]),
        (257, 128, 0, []),
        (384, 1, 4, list(range(0, 384, 3))),
        (100, 500, 2, [50]),
        (640, 129, 1, list(range(300))),
    ],
)
@pytest.mark.slow
def test_flex_equals_a_whole_mask(length, window, sink, texts):
    text, real = tokens(length, texts, 0)
    prompt = prompt_of(text, real, sink, window)
    query, key, value = parts(length, 4, 2, width=16)
    flex = FlexAttention(prompt.shared, length, window, key, kernel=flex_attention)
    ours = flex.attend(query, key, value, SCALING)
    seen = visible(text, real, sink, window, length)
    assert (ours - attended(query, key, value, seen, SCALING)).abs().max() < TOLERANCE
    mask = flex.block_mask
    rows, slots = (torch.arange(size) for size in mask.seq_lengths)
    pairs = mask.mask_mod(torch.tensor(0), torch.tensor(0), rows[:, None], slots[None])
    needed = pairs.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).any(3).any(1)
    assert torch.equal(mask.to_dense()[0, 0].bool(), needed)
    # Each key is seen exactly once.
    assert torch.equal(pairs[:length].sum(1), seen.sum(1))


def test_flex_rounds_sizes_up_to_few():
    assert [rounded_up(size) for size in (1, 128, 129, 1000, 1100, 2047, 9600, 64_000)] == [
        *(128, 128, 256, 1024, 1280, 2048, 10_240, 65_536)
    ]
    assert len({rounded_up(size) for size in range(8193, 16_385)}) == 4
