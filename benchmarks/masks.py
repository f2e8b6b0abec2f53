"""CPU time per mask from logits to run lengths, packed on the device compared with mask by mask.

python -m benchmarks.masks [--rounds 5] [--device cuda]

Logits of 256 x 256 of a padded SAM become masks at two image sizes. Mask by mask, each is resized, checked, counted,
copied and encoded by itself, as the definition says. The host's part of the packed way is what no GPU can do: from
bits to segments. Cleaning follows. Fails if the two ways yield other segments, or if the host needs more than 0.6 ms
at 640 x 480, or more than a tenth of the time of one mask by itself at 12 megapixels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from datasetkit.annotation.cleaning import clean_mask
from datasetkit.annotation.segmenters.masks import Size, pack_masks, resize, unpad
from datasetkit.annotation.segmenters.packed import read_packed
from datasetkit.core.detections import Segment
from datasetkit.core.mask import Mask
from datasetkit.options.grounding import CleaningOptions

COUNTS: dict[Size, int] = {(480, 640): 32, (3000, 4000): 4}
PADDING: tuple[Size, Size] = ((1024, 1024), (768, 1024))
HOST_MS = {(480, 640): 0.6}
HOST_SHARE = {(3000, 4000): 0.1}


def blobs(count: int) -> torch.Tensor:
    """Return logits of objects with ragged outlines, islands and holes, shape (count, 256, 256)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 1, 24, 24, generator=generator) * 4
    smooth = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic")[:, 0]
    across = torch.linspace(-1, 1, 256)
    return smooth + 6 - 14 * (across[:, None] ** 2 + across[None] ** 2)


def one_by_one(logits: torch.Tensor, size_hw: Size) -> list[Segment]:
    """Make segments mask by mask."""
    segments = []
    for one in logits:
        full = resize(unpad(one[None], *PADDING), size_hw)[0]
        if not bool(full.isfinite().all()):
            raise ValueError("logits of this benchmark are finite")
        inside = full > 0
        mask = Mask.from_array(inside.cpu().numpy()) if bool(inside.any()) else None
        segments.append(Segment(mask, 0.5, round(int((full > 1).sum()) / int((full > -1).sum()), 6)))
    return segments


def cpu_ms(function: Callable[[], Any], rounds: int) -> float:
    """Return the least CPU time of several calls."""
    function()
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return 1000 * min(spent)


@torch.inference_mode()
def main() -> None:
    """Print a line per size, and fail if the goals are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    missed = []
    print(f"{'CPU ms per mask':>16} {'one by one':>10} {'packed':>8} {'host part':>10} {'cleaning':>9}")
    for size_hw, count in COUNTS.items():
        logits = blobs(count).to(options.device)
        ious = torch.full((count,), 0.5, device=logits.device)

        def pack(logits: torch.Tensor = logits, ious: torch.Tensor = ious, size_hw: Size = size_hw) -> Any:
            return torch.stack(pack_masks(logits, ious, size_hw, padding=PADDING)).cpu().numpy()

        rows = pack()
        segments = read_packed(rows, size_hw)
        if segments != one_by_one(logits, size_hw):
            missed.append(f"other segments at {size_hw}")
        masks = [item.mask for item in segments if isinstance(item, Segment) and item.mask is not None]
        single, device, host, cleaning = (
            cpu_ms(function, options.rounds) / count
            for function in (
                lambda logits=logits, size_hw=size_hw: one_by_one(logits, size_hw),
                pack,
                lambda rows=rows, size_hw=size_hw: read_packed(rows, size_hw),
                lambda masks=masks: [clean_mask(mask, CleaningOptions()) for mask in masks],
            )
        )
        print(f"{size_hw[1]:>8} x {size_hw[0]:<5} {single:>10.2f} {device + host:>8.2f} {host:>10.2f} {cleaning:>9.2f}")
        if host > HOST_MS.get(size_hw, host) or host > HOST_SHARE.get(size_hw, 1.0) * single:
            missed.append(f"{host:.2f} ms of the host at {size_hw}")
    if missed:
        sys.exit(f"goals are missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
