"""datasetkit: images in, a published dataset of images, key-object masks and descriptions out.

Floors, from the ground up: ``core``, ``runtime``, ``options``, ``toyworld``; ``sources``, ``annotation``, ``export``
and ``hi_scoring``, which never import each other; ``pipeline``, ``api``, ``cli``. Each imports only from below it.

Whoever uses a published dataset needs four functions: :func:`load`, :func:`masks`, :func:`overlay` and
:func:`phrase_masks`. What they need is loaded when one of them is first asked for.
"""

import importlib

TYPE_CHECKING = False  # typing takes a while to import, in which a command would not hear Ctrl-C
if TYPE_CHECKING:
    from datasetkit.api.building import build
    from datasetkit.api.built import open_built as open  # noqa: A004
    from datasetkit.api.experiments import ablate, knockout, sparsify
    from datasetkit.api.joining import report
    from datasetkit.api.scoring import score
    from datasetkit.api.tuning import compare, tune
    from datasetkit.core.rows import load, masks, overlay, phrase_masks

__version__ = "0.6.0"
__all__ = ["ablate", "build", "compare", "knockout", "load", "masks", "open", "overlay", "phrase_masks", "report"]
__all__ += ["score", "sparsify", "tune"]
# Where each public name is; its module is imported when it is first asked for.
_PUBLIC = {
    "build": "datasetkit.api.building:build",
    "open": "datasetkit.api.built:open_built",
    "report": "datasetkit.api.joining:report",
    "score": "datasetkit.api.scoring:score",
    **dict.fromkeys(("ablate", "knockout", "sparsify"), "datasetkit.api.experiments:{}"),
    **dict.fromkeys(("compare", "tune"), "datasetkit.api.tuning:{}"),
    **dict.fromkeys(("load", "masks", "overlay", "phrase_masks"), "datasetkit.core.rows:{}"),
}


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].format(name).partition(":")
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
