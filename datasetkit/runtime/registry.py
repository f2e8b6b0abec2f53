"""Registries: exchangeable parts by name. Owns the lookup, which imports a part only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from datasetkit.core.errors import UnknownNameError


class Registry:
    """Names of exchangeable parts and where they live.

    Args:
        kind: what the parts are, for messages ("source").
        paths: ``name -> "package.module:attribute"``.

    """

    def __init__(self, kind: str, paths: Mapping[str, str]) -> None:
        self.kind = kind
        self._paths = dict(paths)

    @property
    def names(self) -> tuple[str, ...]:
        """Every known name, sorted."""
        return tuple(sorted(self._paths))

    def load(self, name: str) -> Any:
        """Import and give the part called ``name``.

        Raises:
            UnknownNameError: no part has that name; the message lists those that exist.

        """
        if name not in self._paths:
            raise UnknownNameError(f"no {self.kind} is called {name!r}; known: {', '.join(self.names)}")
        module, _, attribute = self._paths[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
