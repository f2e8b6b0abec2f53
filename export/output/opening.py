"""The way to OUT, wherever it is. Owns which kind of output a path or a URI is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from datasetkit.core.errors import BusyError
from datasetkit.core.paths import Place
from datasetkit.export.output.bucket import BuildBucket
from datasetkit.export.output.folder import BuildFolder
from datasetkit.export.output.found import Found
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.output import WAIT_S, Output
from datasetkit.export.output.part_store import PartStore
from datasetkit.runtime.engines.shards import Shard

logger = logging.getLogger(__name__)

_EVERY_S = 0.1
_SOON_S = 1.0  # to plan or to publish takes no longer as a rule


def open_output(place: Place, identity: BuildIdentity, *, overwrite: bool, shard: Shard | None) -> Output:
    """Open OUT for one build; see :class:`~datasetkit.export.output.output.Output`."""
    if isinstance(place, Path):
        return BuildFolder(place, identity, overwrite=overwrite, shard=shard)
    return BuildBucket(place, identity, overwrite=overwrite, shard=shard)


def open_parts(place: Place, build: str) -> PartStore:
    """Open the parts of a running build for a worker, which holds no lock."""
    return _kind(place).open_parts(place, build)


def check_free(place: Place, identity: BuildIdentity) -> Found:
    """Refuse OUT with another build, before models are loaded; their weights are not compared.

    Raises:
        OutputError: OUT contains another build, or something else.

    """
    found = _kind(place).find(place).without_models
    if refusal := found.refusal(place, replace(identity, models=())):
        raise refusal
    return found


def wait_for_turn(open_now: Callable[[], Output]) -> Output:
    """Open OUT as soon as no other job of an array is planning in it.

    Raises:
        OutputError: see :class:`~datasetkit.export.output.output.Output`; another process is building all of it.

    """
    end = time.monotonic() + WAIT_S
    is_told = False
    while True:
        try:
            return open_now()
        except BusyError as error:
            if time.monotonic() > end:
                raise
            if not is_told and time.monotonic() > end - WAIT_S + _SOON_S:
                logger.info("%s; this job waits for at most %.0f s", str(error).partition(";")[0], WAIT_S)
                is_told = True
        time.sleep(_EVERY_S)


def _kind(place: Place) -> type[Output]:
    return BuildFolder if isinstance(place, Path) else BuildBucket
