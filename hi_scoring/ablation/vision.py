"""Vision towers that run once. Owns what is kept of them while one batch after another is asked the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor
from transformers.utils.generic import ModelOutput

# Features of pictures that are kept, in bytes; a batch that does not fit any more is computed anew each time.
_LIMIT = 2**30
# What a tower gives beside features, and no text model reads.
_UNREAD = ("last_hidden_state", "hidden_states", "attentions")


class SeenPictures:
    """Features of batches of pictures, as a model's ``get_image_features`` gives them.

    Args:
        model: an image-text-to-text model; where it has no such method, its tower runs each time.

    """

    def __init__(self, model: Any) -> None:
        self._base = model.base_model
        self._features: dict[tuple[int, ...], Any] = {}
        self._left = _LIMIT

    @contextmanager
    def of(self, rows: tuple[int, ...]) -> Iterator[None]:
        """Let the tower run in the body only if it has not seen this batch of pictures.

        Args:
            rows: of the dataset that the pictures are of, in the batch's order.

        """
        tower = getattr(self._base, "get_image_features", None)
        if tower is None:
            yield
            return

        # generate() looks at the parameters that it takes.
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
