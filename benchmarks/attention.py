"""Cost of reading attention: plain SDPA, eager with all attention reduced afterwards, and ours with all head scores.

    python -m benchmarks.attention [--rounds 5]

A random Llama of 8 layers (4 at 4,800 tokens), 16 heads and width 512, float32, one thread, one forward pass. All but
45 tokens belong to one image; 32 rows are read, as response, phrase and last prompt token, and scored for one object in
each layer. Times are processor times, which depend least on other work on the machine; the three variants alternate,
and ratios are medians over rounds. Peak memory is relative to the resident size before the pass, each in a new process.
Aims: at 2,400 tokens at most 1.10 of plain SDPA's time and 1.25 of its memory, at 4,800 at least 8 times
as fast as eager, which takes 8 GB there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from datasetkit.hi_scoring.attention import PositionReader, instrumented
from datasetkit.hi_scoring.scores.formulas.combine import evidence_of, evidence_scores, object_scores
from datasetkit.options.heads import ScoreOptions

MIB = 2**20
# Image tokens are all but 45 of these; as rows and columns of an image.
GRIDS = {600: (15, 37), 1200: (33, 35), 2400: (15, 157), 4800: (15, 317)}
LAYERS = {600: 8, 1200: 8, 2400: 8, 4800: 4}
TEXT, ROWS, PHRASE_ROWS, WARMING = 45, 32, 3, 64
WAYS = ("sdpa", "eager", "ours")


class Bench:
    """A model, its input and the three ways through it.

    Args:
        length: length of the input, tokens; one of ``GRIDS``.

    """

    def __init__(self, length: int) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=1000,
            hidden_size=512,
            # As wide, relative to the rest, as in Llama 7B.
            intermediate_size=1376,
            num_hidden_layers=LAYERS[length],
            num_attention_heads=16,
            max_position_embeddings=8192,
        )
        self._model = LlamaForCausalLM(config).eval()
        self._ids = torch.randint(0, 1000, (1, length))
        # The image begins after 5 tokens, and the response ends the text.
        self._rows = torch.arange(length - ROWS - 1, length - 1)[None]
        self._columns = torch.arange(5, 5 + length - TEXT)[None]
        self._weights = torch.zeros(1, 3, ROWS)
        self._weights[0, 0] = 1 / ROWS
        self._weights[0, 1, 5 : 5 + PHRASE_ROWS] = 1 / PHRASE_ROWS
        self._weights[0, 2, 0] = 1
        height, width = GRIDS[length]
        self._views = [torch.arange(height * width).view(height, width)]
        self._coverage = [torch.zeros(1, height, width)]
        self._coverage[0][:, 4:10, width // 3 : width // 2] = 1
        self._scores: list[Tensor] = []

    def run(self, way: str, length: int | None = None) -> None:
        """Pass once through the model; a shorter ``length`` warms up and reads nothing."""
        ids = self._ids[:, -length:] if length else self._ids
        self._scores.clear()
        self._model.set_attn_implementation("eager" if way == "eager" else "sdpa")
        with torch.inference_mode():
            if length or way == "sdpa":
                self._model(ids, use_cache=False, logits_to_keep=1)
            elif way == "eager":
                found = self._model(ids, use_cache=False, logits_to_keep=1, output_attentions=True)
                for layer, attention in enumerate(found.attentions):
                    read = self._weights[:, None] @ attention[:, :, self._rows[0]]
                    self._score(layer, read[..., self._columns[0]])
            else:
                reader = PositionReader(self._rows, self._weights, self._columns, self._score)
                with instrumented(self._model, readers=[reader]):
                    self._model(ids, use_cache=False, logits_to_keep=1)

    def scores_of(self, way: str) -> Tensor:
        """Run, and return all scores in one row."""
        self.run(way)
        return torch.cat(self._scores)

    def _score(self, layer: int, attention: Tensor) -> None:  # noqa: ARG002 - signature of sinks
        options = ScoreOptions()
        evidence = [evidence_of(part, part[0], options) for part in self._coverage]
        for look in attention[0].unbind(1):
            found = object_scores(look[None], self._views, self._coverage, options)
            found |= evidence_scores(look, self._views, evidence, float(self._ids.shape[1]))
            self._scores.extend(values.flatten() for values in found.values())


def seconds(function: Callable[[], None]) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_bytes(way: str, length: int) -> int:
    """Return the memory of one pass beyond the resident size before it, in this process."""
    bench = Bench(length)
    bench.run(way, WARMING)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    bench.run(way)
    return resident_bytes("VmHWM") - before


def resident_bytes(name: str) -> int:
    """Read a memory figure of this process from the kernel: VmRSS now, VmHWM the peak since the last reset."""
    [found] = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


def time_ways(length: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds per variant and round, after a warm-up; scores of ours and eager must agree."""
    bench = Bench(length)
    bench.run("sdpa")
    scores = [bench.scores_of(way) for way in ("ours", "eager")]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-3, equal_nan=True)
    taken = [{way: seconds(partial(bench.run, way)) for way in WAYS} for _ in range(rounds)]
    return {way: [times[way] for times in taken] for way in WAYS}


def peaks_of_ways(length: int, rounds: int) -> dict[str, list[int]]:
    """Return the peaks per variant, each in a new process."""

    def fresh(way: str) -> int:
        command = [sys.executable, "-m", "benchmarks.attention", "--peak", way, str(length)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return {way: [fresh(way) for _ in range(rounds)] for way in WAYS}


def ratio(values: Mapping[str, Sequence[float]], way: str, other: str) -> float:
    """Return the median over rounds of the ratios."""
    return median(one / two for one, two in zip(values[way], values[other], strict=True))


def tell(name: str, value: float, aim: float, *, at_least: bool = False) -> None:
    """Print whether an aim is reached."""
    reached = value >= aim if at_least else value <= aim
    print(f"{name} {value:.2f} (at {'least' if at_least else 'most'} {aim:.2f}): {'reached' if reached else 'MISSED'}")


def main() -> None:
    """Measure every length and print the aims that hold there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "LENGTH"), help="print one peak in bytes and exit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak_bytes(options.peak[0], int(options.peak[1])))
        return
    for length in GRIDS:
        times, peaks = time_ways(length, options.rounds), peaks_of_ways(length, options.rounds)
        for way in WAYS:
            print(
                f"{length:5,} tokens, {way:5} {median(times[way]):7.3f} s, {ratio(times, way, 'sdpa'):5.2f} of sdpa's; "
                f"{median(peaks[way]) / MIB:7.1f} MiB, {median(peaks[way]) / median(peaks['sdpa']):5.2f} of sdpa's",
                flush=True,
            )
        if length == 2400:
            tell("  time relative to plain SDPA", ratio(times, "ours", "sdpa"), 1.10)
            tell("  memory relative to plain SDPA", median(peaks["ours"]) / median(peaks["sdpa"]), 1.25)
        if length == 4800:
            tell("  times as fast as eager", ratio(times, "eager", "ours"), 8.0, at_least=True)


if __name__ == "__main__":
    main()
