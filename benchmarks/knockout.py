"""Cost of attention knockout: a sweep over all layers, compared with one full pass per layer with N x N masks.

    python -m benchmarks.knockout [--samples 16] [--plain 2]

A random LLaVA of 24 layers, 8 heads and width 256, float32, one thread, on prompts of 600 tokens. Both variants
block the same flow around every layer, in windows of 9 layers. In the plain variant, the model reads the image and the
whole prompt again for every layer, with a mask of every pair of tokens for every head in the layers of the window. It
runs for the first ``--plain`` samples, and its time is scaled to all. Ours runs for all samples, 4 blocks at once; its
time includes the answer of the model, answer tracking, and a control of random edges if the flow has one: only
``question -> last``, as nearly all keys belong to the image. Times are processor times, which depend least on other
work on the machine. Peak memory is that of one sample beyond the resident size before, each in a new process that has
passed a few tokens through the model. Aims: at least 4 times as fast, and less memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from benchmarks.attention import MIB, resident_bytes, seconds, tell
from datasetkit.core.errors import UnusableError
from datasetkit.hi_scoring.interventions.edges import Window, window_around
from datasetkit.hi_scoring.interventions.knockout import Knockout
from datasetkit.hi_scoring.interventions.positions import Flow, find_positions
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.heads import KnockoutOptions
from tools.toyworld.models.tokenizers import vlm_tokenizer, words_of
from tools.toyworld.models.vlm import CHAT_TEMPLATE

FLOWS = ("image -> question", "image -> last", "question -> last")
SIDE_PX, PATCH_PX, LAYERS, WINDOW, BATCH = 336, 14, 24, 9, 4
QUESTION = "Is the small red circle to the left of the large blue square?"


def build() -> tuple[Any, Any]:
    """Return the model and its processor."""
    side = {"height": SIDE_PX, "width": SIDE_PX}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=side, crop_size=side, do_center_crop=False),
        vlm_tokenizer(words_of(("user : assistant",))),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer = processor.tokenizer
    tokenizer.model_max_length = 1024
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        # As wide, relative to the rest, as in Llama 7B.
        intermediate_size=688,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
    )
    torch.manual_seed(0)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_token)
    return LlavaForConditionalGeneration(config).eval(), processor


class Bench:
    """The model, its questions and the two variants."""

    def __init__(self) -> None:
        self._model, self._processor = build()
        self._dialogue = Dialogue(self._processor, self._model.config)

    def warm_up(self) -> None:
        """Write a token after a few words."""
        words = self._processor.tokenizer("the red circle", return_tensors="pt")
        self._model.generate(**words, max_new_tokens=2, do_sample=False)

    def ours(self, flow: str, number: int) -> list[float]:
        """Return the probability of the first answer token with a flow blocked around every layer."""
        options = KnockoutOptions(flows=(flow,), window=WINDOW, only_correct=False)
        [result] = Knockout(self._model, self._processor, options, BATCH).measure(
            [(question(number), make_image(number))]
        )
        if isinstance(result, UnusableError):
            raise result
        return (result.p * result.flows[flow].remaining).tolist()

    @torch.inference_mode()
    def plain(self, flow: str, number: int) -> list[float]:
        """Return the same by full passes."""
        item, image = question(number), make_image(number)
        inputs = self._dialogue.encode([image], [self._dialogue.prompt(item.prompt)], None)
        [ids] = inputs["input_ids"]
        places = find_positions(self._dialogue, item, ids, self._dialogue.geometry(image))
        pair = Flow.of(flow)
        token = self._model(**inputs, logits_to_keep=1).logits[0, -1].argmax()
        found = []
        for layer in range(LAYERS):
            with masked(self._model, window_around(layer, WINDOW, LAYERS), places[pair.source], places[pair.target]):
                logits = self._model(**inputs, logits_to_keep=1).logits[0, -1]
            found.append(float(logits.softmax(-1)[token]))
        return found


def question(number: int) -> ClosedQuestion:
    """Return a question about an image."""
    return ClosedQuestion(
        row=number,
        number=0,
        record_id=str(number),
        picture_id=str(number),
        category="relation",
        question=QUESTION,
        answer="yes",
        options=("yes", "no"),
        template="{question}",
    )


def make_image(number: int) -> Image.Image:
    """Return an image of noise."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# What the plain variant blocks now: layers, keys and queries.
_MASKED: list[tuple[Window, Tensor, Tensor]] = []


def masked_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return a mask of every pair of tokens, for every head."""
    [(window, sources, targets)] = _MASKED
    if window[0] <= module.layer_idx < window[1]:
        mask = torch.ones(query.shape[1], query.shape[2], key.shape[2], dtype=torch.bool).tril()[None]
        mask[:, :, targets[:, None], sources] = False
    return sdpa_attention_forward(module, query, key, value, mask, **options)


AttentionInterface.register("benchmark_masked", masked_attention)
AttentionMaskInterface.register("benchmark_masked", sdpa_mask)


@contextmanager
def masked(model: Any, window: Window, sources: Tensor, targets: Tensor) -> Iterator[None]:
    """Block edges by masks while the body runs."""
    _MASKED.append((window, sources, targets))
    model.set_attn_implementation({"text_config": "benchmark_masked"})
    try:
        yield
    finally:
        _MASKED.clear()
        model.set_attn_implementation({"text_config": "sdpa"})


def peak_bytes(way: str, flow: str) -> int:
    """Return the memory of the sweep of one sample beyond the resident size before it, in this process."""
    bench = Bench()
    bench.warm_up()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    getattr(bench, way)(flow, 0)
    return resident_bytes("VmHWM") - before


def peak_of(way: str, flow: str) -> int:
    """Return a peak from a new process, which releases freed memory at once."""
    command = [sys.executable, "-m", "benchmarks.knockout", "--peak", way, flow]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    """Measure both variants and print the aims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--plain", type=int, default=2, help="number of samples of the plain variant")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "FLOW"), help="print one peak in bytes and exit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak_bytes(*options.peak))
        return
    bench = Bench()
    bench.ours(FLOWS[0], 0)
    for flow in FLOWS:
        for number in range(options.plain):
            torch.testing.assert_close(bench.ours(flow, number), bench.plain(flow, number), rtol=1e-4, atol=1e-7)
        ours = sum(seconds(partial(bench.ours, flow, number)) for number in range(options.samples))
        plain = sum(seconds(partial(bench.plain, flow, number)) for number in range(options.plain))
        plain *= options.samples / options.plain
        print(f"{flow}: ours {ours:.1f} s, plain {plain:.1f} s for {options.samples} samples", flush=True)
        tell("  times as fast as the plain variant", plain / ours, 4.0, at_least=True)
        peaks = {way: peak_of(way, flow) for way in ("ours", "plain")}
        print(f"  peaks: ours {peaks['ours'] / MIB:.1f} MiB, plain {peaks['plain'] / MIB:.1f} MiB")
        tell("  memory relative to the plain variant", peaks["ours"] / peaks["plain"], 1.0)


if __name__ == "__main__":
    main()
