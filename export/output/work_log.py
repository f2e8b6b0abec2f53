"""Where the time of a build went. Owns the file that records it, and is never published.

A built folder contains no times, so the work of each stage is in ``.NAME.build.json`` next to it, and in
``.datasetkit/build.json`` below a URI: that of the latest build that built any part.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasetkit.core.files import replace_file
from datasetkit.core.paths import Place, path_beside

logger = logging.getLogger(__name__)


def work_log_path(place: Place) -> Place:
    """Return the path of the record for a built dataset."""
    return path_beside(place, "build.json")


def write_work_log(place: Place, work: Mapping[str, Any]) -> None:
    """Write the record; without write permission, there is none."""
    path, data = work_log_path(place), (json.dumps(work, indent=1) + "\n").encode()
    try:
        if isinstance(path, Path):
            replace_file(path, data)
        else:
            path.write_bytes(data)
    except OSError as error:
        logger.info("%s cannot be written (%s)", path, error.strerror)
