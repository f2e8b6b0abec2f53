"""Training of the shipped models: ``python -m tools.toyworld.train detector|segmenter|vlm``.

After an interruption, the same command resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

MODELS = ("detector", "segmenter", "vlm")


def positive(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one model and save it with its processor."""
    parser = argparse.ArgumentParser(prog="python -m tools.toyworld.train", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/toyworld"),
        help="folder for checkpoints, metrics and rendered scenes (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder for the trained model (default: WORK/weights/MODEL)")
    parser.add_argument(
        "--scenes", type=positive, default=24_000, help="number of training scenes (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of weights and samples (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="device: cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, help="torch threads on a CPU (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    module = importlib.import_module(f"tools.toyworld.training.{options.model}")
    out = options.out or options.work / "weights" / options.model
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: not available on this machine or in this build of torch; give --device cpu")
    try:
        module.train(options.work, out, scenes=options.scenes, seed=options.seed, device=device)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command resumes from the last checkpoint\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
