"""The highest need of memory while something runs. Owns where that can be read, and what is too small to be seen."""

from __future__ import annotations

import re
from pathlib import Path

import torch

# What an allocator may keep of one pass for the next, so that resident memory does not tell smaller needs apart.
UNSEEN_BYTES = 64 * 2**20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures from now on: on CUDA what is allocated, on a CPU under Linux what is resident."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        finish(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu" and _RESET.exists():
            _RESET.write_text("5")
        self._before = self._held(is_peak=False)

    def peak(self) -> float:
        """Bytes beyond those that were held at first; NaN where they cannot be known."""
        finish(self._device)
        return self._held(is_peak=True) - self._before

    def seen_peak(self) -> float:
        """Give the same, and NaN where it is too small to be told from what an allocator keeps, on a CPU."""
        peak = self.peak()
        return float("nan") if self._device.type == "cpu" and peak < UNSEEN_BYTES else peak

    def _held(self, *, is_peak: bool) -> float:
        if self._device.type == "cuda":
            return float((torch.cuda.max_memory_allocated if is_peak else torch.cuda.memory_allocated)(self._device))
        if self._device.type != "cpu" or not _RESET.exists():
            return float("nan")
        [found] = re.findall(rf"{'VmHWM' if is_peak else 'VmRSS'}:\s+(\d+) kB", _STATUS.read_text())
        return int(found) * 1024.0


def finish(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
