"""Where the time of a build went. Owns the file that records it next to OUT, and is never published.

A built folder contains no times, so the work of each stage is in ``.NAME.build.json`` next to it: that of the latest
build that built any part.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasetkit.core.files import real_path, replace_file

logger = logging.getLogger(__name__)


def work_log_path(folder: Path) -> Path:
    """Return the path of the record for a built folder."""
    whole = real_path(folder)
    return whole.parent / f".{whole.name}.build.json"


def write_work_log(folder: Path, work: Mapping[str, Any]) -> None:
    """Write the record; without write permission, there is none."""
    try:
        replace_file(work_log_path(folder), (json.dumps(work, indent=1) + "\n").encode())
    except OSError as error:
        logger.info("%s cannot be written (%s)", work_log_path(folder), error.strerror)
