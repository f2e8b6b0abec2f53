"""Cost of a tuning step: ours, for layers and heads, compared with the same step written with peft only.

    python -m benchmarks.tuning [--rounds 3] [--steps 30]

toyworld's language model, LoRA of rank 8 on the projections of its second layer, batches of 16 examples, one thread.
The plain variant reads and encodes the same batches with the processor, and only does forward, backward, clipping and
AdamW. Times are processor times; the variants alternate, and ratios are medians over rounds. Peak memory is relative to
the resident size before the first step, each in a new process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from benchmarks.attention import MIB, ratio, resident_bytes
from datasetkit.hi_scoring.data.datasets import DESCRIBED, open_data
from datasetkit.hi_scoring.data.examples import Examples, read_examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.selection import Selection
from datasetkit.hi_scoring.tuning.adapters import adapt
from datasetkit.hi_scoring.tuning.training import train
from datasetkit.options import Recipe
from datasetkit.options.heads import AdapterOptions, TextOptions, TrainingOptions
from datasetkit.pipeline.build import build

WAYS = ("plain", "layers", "heads")
BATCH, LAYER, SCENES, RATE, CLIP = 16, 1, 150, 1e-3, 1.0
SELECTIONS = {
    "layers": Selection("layers:1", (LAYER,)),
    "heads": Selection.of_heads("two heads", (Head(LAYER, 3), Head(LAYER, 4))),
}


def examples_in(folder: Path, subject: Subject) -> Examples:
    """Render scenes once, and return their captions and questions."""
    source = {"name": "toyworld", "count": SCENES, "scene_split": "train", "size_px": 128, "domain": "shifted"}
    build(Recipe.model_validate({"source": source, "overlay": False}), folder, workers=1)
    return read_examples(
        open_data(str(folder), requires=DESCRIBED), TextOptions(), Dialogue(subject.processor, subject.config)
    )


def run(way: str, subject: Subject, examples: Examples, steps: int) -> None:
    """Run some steps of a newly loaded model."""
    model = subject.load()
    if way == "plain":
        _plain(model, subject.processor, examples, steps)
        return
    adapted = adapt(model, SELECTIONS[way], AdapterOptions(), seed=0).model
    options = TrainingOptions(steps=steps, batch=BATCH, learning_rate=RATE, save_every=10**6)
    with tempfile.TemporaryDirectory() as folder:
        train(adapted, Dialogue(subject.processor, model.config), examples, None, options, 0, Path(folder))


def _plain(model: Any, processor: Any, examples: Examples, steps: int) -> None:
    names = [f"model.language_model.layers.{LAYER}.self_attn.{name}_proj" for name in "qkvo"]
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=names)).train()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist()
    for step in range(steps):
        batch = [examples.items[place] for place in order[step * BATCH : (step + 1) * BATCH]]
        prompts = [f"<s>USER: <image> {one.prompt} ASSISTANT:" for one in batch]
        inputs = processor(
            images=[[examples.image(one)] for one in batch],
            text=[f"{prompt} {one.response}</s>" for prompt, one in zip(prompts, batch, strict=True)],
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        )
        labels = torch.full_like(inputs["input_ids"], -100)
        for row, one in enumerate(batch):
            said = len(processor.tokenizer(f"{one.response}</s>", add_special_tokens=False).input_ids)
            labels[row, -said:] = inputs["input_ids"][row, -said:]
        adapted(**inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        optimizer.zero_grad()


def seconds_a_step(way: str, subject: Subject, examples: Examples, steps: int) -> float:
    """Return the processor time per step: that of many steps minus that of one, to exclude loading."""
    taken = []
    for count in (1, steps + 1):
        start = time.process_time()
        run(way, subject, examples, count)
        taken.append(time.process_time() - start)
    return (taken[1] - taken[0]) / steps


def peak_bytes(way: str) -> int:
    """Return the memory of three steps beyond the resident size before them, in this process."""
    subject = Subject("toyworld:vlm", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        examples = examples_in(Path(folder) / "data", subject)
        run("layers", subject, examples, 1)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        run(way, subject, examples, 3)
        return resident_bytes("VmHWM") - before


def main() -> None:
    """Measure all variants, and print them with the plain one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--peak", metavar="WAY", help="print one peak in bytes and exit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak_bytes(options.peak))
        return
    subject = Subject("toyworld:vlm", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        examples = examples_in(Path(folder) / "data", subject)
        rounds = [
            {way: seconds_a_step(way, subject, examples, options.steps) for way in WAYS} for _ in range(options.rounds)
        ]
    times = {way: [one[way] for one in rounds] for way in WAYS}
    command = [sys.executable, "-m", "benchmarks.tuning", "--peak"]
    peaks = {
        way: [int(subprocess.run([*command, way], check=True, capture_output=True, text=True).stdout.split()[-1])]
        for way in WAYS
    }
    for way in WAYS:
        print(
            f"{way:6} {1000 * median(times[way]):6.0f} ms per step, {ratio(times, way, 'plain'):5.2f} of plain; "
            f"{peaks[way][0] / MIB:6.1f} MiB, {ratio(peaks, way, 'plain'):5.2f} of plain"
        )


if __name__ == "__main__":
    main()
