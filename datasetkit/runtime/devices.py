"""Where models run. Owns the choice of a device, and what can be refused of it before torch is imported."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from datasetkit.core.errors import ModelError

_BUILT_WITHOUT = re.compile(r"^(cuda|hip)\b.*= None$", re.MULTILINE)


def check_device(device: str) -> str:
    """Refuse CUDA where torch was built without it, as torch's version file says.

    Raises:
        ModelError: it was.

    """
    found = find_spec("torch")
    if device.partition(":")[0] == "cuda" and found is not None and found.origin is not None:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
        if len(_BUILT_WITHOUT.findall(text)) == len(("cuda", "hip")):
            raise ModelError("CUDA cannot be used (this torch was built without it); give auto or cpu")
    return device


def torch_device(device: str) -> str:
    """Return the device's name for torch; of ``auto``, CUDA where there is one, else MPS, else the CPU.

    Raises:
        ModelError: torch knows or has no such device; the message names those that there are.

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
