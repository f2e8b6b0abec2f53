"""datasetkit: pictures in, a published dataset of images, key-object masks and descriptions out.

Floors, from the ground up: ``core``, ``runtime``, ``options``, ``toyworld``; ``sources``, ``annotation``, ``export``
and ``hi_scoring``, which never import each other; ``pipeline``, ``api``, ``cli``. Each imports only from below it.

Whoever uses a published dataset needs four functions: :func:`load`, :func:`masks`, :func:`overlay` and
:func:`phrase_masks`. What they need is loaded when one of them is first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasetkit.core.rows import load, masks, overlay, phrase_masks

__version__ = "0.2.0"
__all__ = ["load", "masks", "overlay", "phrase_masks"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("datasetkit.core.rows"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
