"""The engine ``ray`` with a clock; it needs the package ray."""

from __future__ import annotations

from benchmarks.timed_engine import Timed
from datasetkit.runtime.engines.ray import Ray


class TimedRay(Timed, Ray):
    """Actors with a clock."""
