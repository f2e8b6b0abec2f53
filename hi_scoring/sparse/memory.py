"""Peak memory while something runs. Owns where it can be read, and which amounts are too small to be measured."""

from __future__ import annotations

import re
from pathlib import Path

import torch

# An allocator may keep this much from one pass to the next, so resident memory does not show smaller amounts.
UNSEEN_BYTES = 64 * 2**20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures from its construction on: allocated memory on CUDA, resident memory on a CPU under Linux."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        finish(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu" and _RESET.exists():
            _RESET.write_text("5")
        self._before = self._held(is_peak=False)

    def peak(self) -> float:
        """Return the peak in bytes above the memory held at the start; NaN if it cannot be read."""
        finish(self._device)
        return self._held(is_peak=True) - self._before

    def seen_peak(self) -> float:
        """Return the same, but NaN on a CPU if it is too small to be distinguished from an allocator's cache."""
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
    """Wait until the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
