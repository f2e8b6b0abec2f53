"""Kernels of sparse heads: where each works, and which prompts need another compilation."""

import pytest
import torch
from transformers import LlamaConfig

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.sparse import flex
from datasetkit.hi_scoring.sparse.kernels import check_kernel, head_width, local_attention, size_of
from tests.hi_scoring.sparse.references import prompt_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def prompt(length: int, texts: int):
    return prompt_of(torch.arange(length) < texts, torch.ones(length, dtype=torch.bool), 0, 8)


@pytest.mark.parametrize(
    ("device", "width", "has_triton", "told"),
    [
        (CPU, 64, True, "it needs CUDA, and the model is on cpu"),
        (CUDA, 64, False, "it needs triton, which is not installed"),
        (CUDA, 80, True, "the width of heads must be a power of two from 16, and is 80"),
        (CUDA, 8, True, "the width of heads must be a power of two from 16, and is 8"),
    ],
)
def test_impossible_kernel_is_refused_with_reason(device, width, has_triton, told, monkeypatch):
    monkeypatch.setattr(flex, "find_spec", lambda _: object() if has_triton else None)
    with pytest.raises(ModelError, match=f"kernel flex is not possible: {told}; use blocks"):
        check_kernel("flex", device, width)
    check_kernel("blocks", device, width)


def test_possible_kernel_is_accepted(monkeypatch):
    monkeypatch.setattr(flex, "find_spec", lambda _: object())
    check_kernel("flex", CUDA, 128)


def test_a_layer_on_another_device_does_not_fall_back():
    with pytest.raises(ModelError, match="needs CUDA"):
        local_attention("flex", prompt(40, 3), 8, torch.zeros(2, 40, 16))


def test_compiled_sizes():
    assert [size_of("flex", prompt(*one)) for one in ((300, 5), (380, 120), (390, 5), (300, 130))] == [
        *((128, 384), (128, 384), (128, 512), (256, 384))
    ]
    assert size_of("blocks", prompt(300, 5)) == size_of("blocks", prompt(3000, 500)) == ()


@pytest.mark.parametrize(("options", "width"), [({"head_dim": 48}, 48), ({}, 32)])
def test_width_of_heads(options, width):
    assert head_width(LlamaConfig(hidden_size=128, num_attention_heads=4, **options)) == width
