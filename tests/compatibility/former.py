"""What earlier versions of datasetkit made, kept as they wrote it; ``make.sh`` of each has the commands.

Owns the way to a copy of it: no test changes the files themselves.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FORMER = Path(__file__).parent / "v0_1_0"
HUMAN_MASKS = Path(__file__).parent / "v0_2_0"
ODD_PIXELS = Path(__file__).parent / "v0_3_0" / "pixels"


def copied(name: str, folder: Path) -> Path:
    """Copy a folder of version 0.1.0 to a place where a command may write."""
    return Path(shutil.copytree(FORMER / name, folder / name))
