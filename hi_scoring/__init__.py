"""Attention heads of multimodal models: which of them attend to the objects that the text names.

The public names besides the functions of the package are :class:`HeadScores`, which ``datasetkit.score`` returns, and
:func:`sparsify` with a :class:`SparsePlan`. They are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasetkit.hi_scoring.scores.results import Head, HeadScores
    from datasetkit.hi_scoring.sparse.attention import sparsify
    from datasetkit.hi_scoring.sparse.plan import SparsePlan

__all__ = ["Head", "HeadScores", "SparsePlan", "sparsify"]
_MODULES = {"Head": "scores.results", "HeadScores": "scores.results", "SparsePlan": "sparse.plan"}


def __getattr__(name: str) -> object:
    if name in __all__:
        module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'sparse.attention')}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
