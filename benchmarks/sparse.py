"""Savings of sparse prefill: time to first token, memory, and attention by itself, compared with dense SDPA.

    python -m benchmarks.sparse [--rounds 5]
    python -m benchmarks.sparse --device cuda [--rounds 5]

A random Llama; all but 45 tokens of a prompt are an image's; 5 % of heads, drawn at random over the layers, keep full
attention, the others see text, 4 first tokens and a window of 128. On a CPU it has 16 heads, width 512, 8 layers (4
from 4,800 tokens on), float32, one thread, and times are the processor's. On CUDA it has the shape of a 7B model, 32
heads of 128, width 4,096, in bfloat16, but 4 of its 32 layers: all layers are alike, so ratios of whole models are
nearly the same. The variants alternate, ratios are medians over rounds, and peaks are relative to the memory
before the pass, on a CPU each in a new process. ``attention`` is that of a single layer, in which 5 % of the heads are
full, rounded up. First of all, both kernels must agree with attention under a full mask.

Aim on CUDA: beyond the 1.8 to 2.3 times of Sun et al. (arXiv 2606.05843) at the longest prompts.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

# Run as a file, too: python benchmarks/sparse.py
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.sparse import SparsePlan, sparsify
from datasetkit.hi_scoring.sparse.blocks import BlockAttention
from datasetkit.hi_scoring.sparse.flex import FlexAttention
from datasetkit.hi_scoring.sparse.kernels import Kernel
from datasetkit.hi_scoring.sparse.memory import PeakMemory, finish

MIB = 2**20
FIRST_TEXT, LAST_TEXT, IMAGE = 5, 40, 999
SHARE, SINK, WINDOW = 0.05, 4, 128
CHECKED = 1000
# What an allocator keeps varies by some 20 MiB.
PROCESSES = 3


@dataclass(frozen=True)
class Setting:
    """Measurements on a kind of device.

    Args:
        lengths: prompt lengths, tokens.
        width: width of the model.
        inner: width of its MLP.
        heads: number of heads per layer.
        dtype: dtype of its weights.
        ways: measured variants.
        tolerance: largest difference from attention under a full mask.

    """

    lengths: tuple[int, ...]
    width: int
    inner: int
    heads: int
    dtype: torch.dtype
    ways: tuple[str, ...]
    tolerance: float

    def layers(self, length: int) -> int:
        """Return the number of layers for a prompt length."""
        return 8 if self.width < 1000 and length < 4000 else 4


SETTINGS = {
    "cpu": Setting((2400, 4800, 9600), 512, 1376, 16, torch.float32, ("dense", "blocks"), 1e-4),
    "cuda": Setting(
        (8000, 16_000, 32_000, 64_000), 4096, 11_008, 32, torch.bfloat16, ("dense", "blocks", "flex"), 0.05
    ),
}
KINDS = {"blocks": BlockAttention, "flex": FlexAttention}


class Bench:
    """A model, a prompt and the variants of prefill.

    Args:
        device: ``cpu`` or ``cuda``.
        length: length of the prompt, tokens.

    """

    def __init__(self, device: str, length: int) -> None:
        torch.manual_seed(0)
        setting = SETTINGS[device]
        layers = setting.layers(length)
        config = LlamaConfig(
            vocab_size=1000,
            hidden_size=setting.width,
            intermediate_size=setting.inner,
            num_hidden_layers=layers,
            num_attention_heads=setting.heads,
            max_position_embeddings=2**17,
            image_token_id=IMAGE,
        )
        self.device = torch.device(device)
        with self.device:
            self._model = LlamaForCausalLM(config).to(setting.dtype).eval()
        self._ids = torch.full((1, length), IMAGE)
        self._ids[0, :FIRST_TEXT] = torch.arange(FIRST_TEXT)
        self._ids[0, -LAST_TEXT:] = torch.arange(LAST_TEXT)
        self._ids = self._ids.to(device)
        every = layers * setting.heads
        drawn = np.random.default_rng(0).choice(every, math.ceil(SHARE * every), replace=False).tolist()
        self.plan = SparsePlan.keeping(
            [Head(*divmod(number, setting.heads)) for number in drawn],
            ModelIdentity("model", "random", None, None),
            (layers, setting.heads),
            sink=SINK,
            window=WINDOW,
        )

    def seconds(self, way: str) -> float:
        """Return the time of one pass through the model to the logits of the last token."""
        kernel: Kernel = "flex" if way == "flex" else "blocks"
        with nullcontext() if way == "dense" else sparsify(self._model, self.plan, kernel):
            return seconds(self.device, self._pass)

    @torch.inference_mode()
    def _pass(self) -> None:
        self._model(self._ids, logits_to_keep=1)


class AttentionBench:
    """Attention of one layer, and the variants to compute it.

    Args:
        device: ``cpu`` or ``cuda``.
        length: length of the prompt, tokens.
        dtype: dtype of queries, keys and values; by default that of the device.

    """

    def __init__(self, device: str, length: int, dtype: torch.dtype | None = None) -> None:
        setting = SETTINGS[device]
        self.device = torch.device(device)
        generator = torch.Generator(self.device).manual_seed(0)
        size = (length, setting.heads, setting.width // setting.heads)
        self._parts = [
            torch.randn(size, device=device, generator=generator).to(dtype or setting.dtype).transpose(0, 1)
            for _ in range(3)
        ]
        self._scaling = size[2] ** -0.5
        self._full = math.ceil(SHARE * setting.heads)
        shared = np.concatenate([np.arange(FIRST_TEXT), np.arange(length - LAST_TEXT, length)])
        self._shared = shared
        self._local = {way: KINDS[way](shared, length, WINDOW, self._parts[1]) for way in setting.ways if way in KINDS}

    def seconds(self, way: str) -> float:
        """Return the time of one layer."""
        return seconds(self.device, partial(self.run, way))

    def run(self, way: str) -> Tensor:
        """Compute all heads, (N, H, D)."""
        with torch.inference_mode():
            if way == "dense":
                return self._causal(*self._parts)
            query, key, value = self._parts
            output = self._local[way].attend(query, key, value, self._scaling, range(self._full, len(key)))
            output[:, : self._full] = self._causal(*(part[: self._full] for part in self._parts))
            return output

    def under_a_mask(self) -> Tensor:
        """Compute the sparse heads by a full mask, in float32."""
        rows = torch.arange(self._parts[0].shape[1], device=self.device)
        distance = rows[:, None] - rows
        seen = (distance >= 0) & ((distance < WINDOW) | torch.isin(rows, torch.from_numpy(self._shared).to(rows)))
        query, key, value = (part.float() for part in self._parts)
        scores = (query @ key.transpose(1, 2) * self._scaling).masked_fill(~seen, -torch.inf)
        return (scores.softmax(-1) @ value).transpose(0, 1)

    def check(self, tolerance: float) -> None:
        """Compare every kernel with attention under a full mask."""
        expected = self.under_a_mask()[:, self._full :]
        for way in self._local:
            error = (self.run(way)[:, self._full :].float() - expected).abs().max().item()
            print(f"{way}: differs by {error:.1e} from attention under a full mask (at most {tolerance:.0e})")
            if error > tolerance:
                raise SystemExit(f"{way} is wrong")

    def _causal(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = functional.scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=self._scaling
        )
        return output[0].transpose(0, 1)


def seconds(device: torch.device, function: Callable[[], object]) -> float:
    """Return the time of one call: processor time on a CPU, otherwise until the device is done."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    finish(device)
    start = clock()
    function()
    finish(device)
    return clock() - start


def times_of(bench: Bench | AttentionBench, ways: tuple[str, ...], rounds: int) -> dict[str, list[float]]:
    """Return the seconds per variant and round, after a warm-up."""
    for way in ways:
        bench.seconds(way)
    taken = [{way: bench.seconds(way) for way in ways} for _ in range(rounds)]
    return {way: [times[way] for times in taken] for way in ways}


def ratio(times: dict[str, list[float]], way: str) -> float:
    """Return the speed relative to dense: median over rounds."""
    return median(dense / own for dense, own in zip(times["dense"], times[way], strict=True))


def peak_bytes(device: str, length: int, way: str) -> float:
    """Return the memory of one pass beyond that before it; on a CPU the median over new processes."""
    if device == "cpu":
        command = [sys.executable, __file__, "--peak", way, str(length)]
        outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(PROCESSES)]
        return median(map(float, outputs))
    return own_peak_bytes(Bench(device, length), way)


def own_peak_bytes(bench: Bench, way: str) -> float:
    """Return the memory of one pass in this process."""
    memory = PeakMemory(bench.device)
    bench.seconds(way)
    return memory.peak()


def main() -> None:
    """Measure every length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=SETTINGS, default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", help="prompt lengths, tokens")
    parser.add_argument("--ways", nargs="+", choices=KINDS, help="variants compared with dense SDPA")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "LENGTH"), help="print one peak on the CPU and exit")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    else:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    if options.peak:
        way, length = options.peak
        print(own_peak_bytes(Bench("cpu", int(length)), way))
        return
    setting = SETTINGS[options.device]
    AttentionBench(options.device, CHECKED).check(setting.tolerance)
    ways = ("dense", *options.ways) if options.ways else setting.ways
    for length in options.lengths or setting.lengths:
        alone = times_of(AttentionBench(options.device, length), ways, options.rounds)
        whole = times_of(Bench(options.device, length), ways, options.rounds)
        peaks = {way: peak_bytes(options.device, length, way) for way in ways}
        for way in ways:
            print(
                f"{length:6,} tokens, {way:6}: first token {median(whole[way]):7.3f} s, {ratio(whole, way):5.2f} x; "
                f"attention {1000 * median(alone[way]):8.1f} ms, {ratio(alone, way):6.2f} x; "
                f"{peaks[way] / MIB:7.0f} MiB, {peaks[way] / peaks['dense']:.2f} of dense",
                flush=True,
            )


if __name__ == "__main__":
    main()
