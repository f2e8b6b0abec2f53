"""Attention heads of multimodal models: which of them look at the objects that the text names.

What is used from code: :func:`score_dataset` with a :class:`Subject` and :func:`open_data`, and :class:`HeadScores`,
which it gives and which :meth:`HeadScores.load` reads back; :func:`sparsify` with a :class:`SparsePlan`. They are
loaded when first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasetkit.hi_scoring.data.datasets import open_data
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.hi_scoring.scores.dataset_scores import score_dataset
    from datasetkit.hi_scoring.scores.results import Head, HeadScores
    from datasetkit.hi_scoring.sparse.attention import sparsify
    from datasetkit.hi_scoring.sparse.plan import SparsePlan

_MODULES = {
    "Head": "scores.results",
    "HeadScores": "scores.results",
    "SparsePlan": "sparse.plan",
    "Subject": "model.subject",
    "open_data": "data.datasets",
    "score_dataset": "scores.dataset_scores",
    "sparsify": "sparse.attention",
}
__all__ = ["Head", "HeadScores", "SparsePlan", "Subject", "open_data", "score_dataset", "sparsify"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
