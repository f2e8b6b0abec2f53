"""Vision towers that run once. Owns the features that are kept while the same batches are asked again and again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor
from transformers.utils.generic import ModelOutput

# Limit of the kept image features, in bytes; a batch that does not fit any more is computed again each time.
_LIMIT = 2**30
# Outputs of a tower besides the features, which no text model reads.
_UNREAD = ("last_hidden_state", "hidden_states", "attentions")

Given = ParamSpec("Given")
Result = TypeVar("Result")


class SeenImages:
    """Features of batches of images, as returned by a model's ``get_image_features``, kept until memory runs out.

    Args:
        model: an image-text-to-text model; if it has no such method, its tower runs each time.

    """

    def __init__(self, model: Any) -> None:
        self._base = model.base_model
        self._features: dict[tuple[int, ...], Any] = {}
        self._left = _LIMIT

    @contextmanager
    def of(self, rows: tuple[int, ...]) -> Iterator[None]:
        """Run the tower in the body only if it has not seen these rows' images as one batch, in this order."""
        tower = getattr(self._base, "get_image_features", None)
        if tower is None:
            yield
            return

        # generate() inspects the signature of this method.
        @wraps(tower)
        def remembered(*arguments: Any, **options: Any) -> Any:
            if rows in self._features:
                return self._features[rows]
            found = tower(*arguments, **options)
            self._keep(rows, found)
            return found

        self._base.get_image_features = remembered
        try:
            yield
        finally:
            del self._base.get_image_features

    def giving_way(self, function: Callable[Given, Result]) -> Callable[Given, Result]:
        """Wrap a function so that the kept features are freed when memory runs out; nothing is kept from then on.

        Args:
            function: a function of a batch; it is then called once more, so that no batch is halved before that memory
                is free.

        """

        @wraps(function)
        def called(*arguments: Given.args, **options: Given.kwargs) -> Result:
            try:
                return function(*arguments, **options)
            except (RuntimeError, MemoryError):
                # Any error: if memory was not the cause, the second call fails in the same way.
                if not self._features:
                    raise
            # Only here, after the exception is gone, are the tensors of the failed attempt no longer referenced.
            self._features.clear()
            self._left = 0
            gc.collect()
            return function(*arguments, **options)

        return called

    def _keep(self, rows: tuple[int, ...], found: Any) -> None:
        if not isinstance(found, ModelOutput):
            return
        kept = type(found)(**{name: value for name, value in found.items() if name not in _UNREAD})
        size = sum(tensor.nbytes for value in kept.values() for tensor in _tensors(value))
        if size <= self._left:
            self._left -= size
            self._features[rows] = kept


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
