"""Answers to a claim. Owns what they are called, and the level at which a test counts as significant."""

from __future__ import annotations

# Of every test and interval, after correction for the others of its family.
LEVEL = 0.05
HOLDS, FAILS, OPEN, NOT_MEASURED = "holds", "does not hold", "cannot be told", "not measured"
