"""What this machine has: processors, memory, devices, disk. Owns how it is measured, not what is made of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's figures at one moment.

    Args:
        device: where models would run, as torch names it; None where it cannot be used.
        device_fault: why it cannot be used; None where it can.
        memory_free: bytes that models could take there; None where nothing tells.
        disk_free: bytes that are free where models would be fetched to.
        hub_fault: why the Hub does not answer; None where it does, or was not asked.

    """

    device: str | None
    device_fault: str | None
    memory_free: int | None
    disk_free: int
    hub_fault: str | None = None


def processor_count() -> int:
    """Return the number of processors that this process may use: fewer than all in a job or a container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, (_CGROUP / "cpu.max").read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such group, or "max"
        return count
    return max(min(count, -(-quota // period)), 1)


def free_disk(place: Path) -> int:
    """Return how many bytes are free where a folder is, or would be made."""
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def free_memory(device: str) -> int | None:
    """Return how many bytes models could take on a device; None where nothing tells.

    On the CPU it is what the system calls available, and no more than what the control group of this process leaves.
    """
    import torch

    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if device.startswith("mps"):
        return torch.mps.recommended_max_memory()
    return _free_ram()


def _free_ram() -> int | None:
    known = [figure for figure in (_available(), _left_in_group()) if figure is not None]
    return min(known, default=None)


def _available() -> int | None:
    """Return what Linux calls available; elsewhere all memory that there is, where the system tells."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * _KIB for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _left_in_group() -> int | None:
    try:
        most, used = ((_CGROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        return max(int(most) - int(used), 0)
    except (OSError, ValueError):  # no such group, or "max"
        return None
