"""Tiny models of the families whose processors need torchvision."""

from __future__ import annotations

from tests.hi_scoring.tiny_parts import Builder

BUILDERS: dict[str, Builder] = {}
