"""Attention heads of multimodal models: which of them look at the objects that the text names.

What is used from code: :func:`score_dataset` with a :class:`Subject` and :func:`open_data`, and :class:`HeadScores`,
which it gives and which :meth:`HeadScores.load` reads back. They are loaded when first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hi_scoring.data import open_data
    from hi_scoring.dataset_scores import score_dataset
    from hi_scoring.options import ScoreOptions
    from hi_scoring.results import Head, HeadScores
    from hi_scoring.subject import Subject

__all__ = ["Head", "HeadScores", "ScoreOptions", "Subject", "open_data", "score_dataset"]
_MODULES = {
    "Head": "hi_scoring.results",
    "HeadScores": "hi_scoring.results",
    "ScoreOptions": "hi_scoring.options",
    "Subject": "hi_scoring.subject",
    "open_data": "hi_scoring.data",
    "score_dataset": "hi_scoring.dataset_scores",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
