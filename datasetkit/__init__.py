"""datasetkit: pictures in, a published dataset of images, key-object masks and descriptions out.

Floors, from the ground up: ``core``, ``runtime``, ``options``, ``toyworld``; ``sources``, ``annotation``, ``export``
and ``hi_scoring``, which never import each other; ``pipeline``, ``api``, ``cli``. Each imports only from below it.

Whoever uses a published dataset needs four functions: :func:`load`, :func:`masks`, :func:`overlay` and
:func:`phrase_masks`. What they need is loaded when one of them is first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasetkit.api.building import build
    from datasetkit.api.built import open_built as open  # noqa: A004
    from datasetkit.core.rows import load, masks, overlay, phrase_masks

__version__ = "0.2.0"
__all__ = ["build", "load", "masks", "open", "overlay", "phrase_masks"]
# Where each public name is; its module is imported when it is first asked for.
_PUBLIC = {
    "build": "datasetkit.api.building:build",
    "open": "datasetkit.api.built:open_built",
    **dict.fromkeys(("load", "masks", "overlay", "phrase_masks"), "datasetkit.core.rows:{}"),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].format(name).partition(":")
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
