"""Devices that models run on. Owns their choice, and the checks that need no import of torch."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from datasetkit.core.errors import ModelError

_BUILT_WITHOUT = re.compile(r"^(cuda|hip)\b.*= None$", re.MULTILINE)


def check_device(device: str) -> str:
    """Refuse CUDA if torch was built without it, according to torch's version file.

    Raises:
        ModelError: torch was built without CUDA.

    """
    found = find_spec("torch")
    if device.partition(":")[0] == "cuda" and found is not None and found.origin is not None:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
        if len(_BUILT_WITHOUT.findall(text)) == len(("cuda", "hip")):
            raise ModelError("CUDA cannot be used (this torch was built without it); give auto or cpu")
    return device


def torch_device(device: str) -> str:
    """Return the name of the device for torch; ``auto`` selects CUDA if available, else MPS, else the CPU.

    Raises:
        ModelError: there is no such device; the message names the available ones.

    """
    import torch

    there = [
        *(("cuda",) if torch.cuda.is_available() else ()),
        *(("mps",) if torch.backends.mps.is_available() else ()),
        "cpu",
    ]
    if device == "auto":
        return there[0]
    check_device(device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().split("\n")[0]
        why = "torch knows no such device" if first.startswith("Expected one of") else first
        raise ModelError(f"device {device!r} cannot be used ({why}); give {' or '.join(['auto', *there])}") from error
    return device
