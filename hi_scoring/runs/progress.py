"""How far long work is. Owns the type of what is told of it."""

from __future__ import annotations

from collections.abc import Callable

# What is being done, how much of it is done, and of how much.
OnProgress = Callable[[str, int, int], None]
