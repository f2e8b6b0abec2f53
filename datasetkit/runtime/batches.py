"""Batches that shrink when memory runs out. Owns the halving, and the error of an item that does not fit by itself."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from datasetkit.core.errors import UnusableError, is_out_of_memory
from datasetkit.core.ledger import DropReason

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """Calls a function on batches of items; halves the batch size for good each time memory runs out.

    Whoever processes parts makes new batches for each part.

    Args:
        function: returns one result per item, in order, or an error for an item without a result.
        size: initial number of items per batch.
        items: what they are, in the plural, for the log.

    Attributes:
        size: items per batch now.
        halvings: how often memory ran out.

    """

    def __init__(
        self,
        function: Callable[[Sequence[Item]], Sequence[Result | UnusableError]],
        size: int,
        items: str = "items",
    ) -> None:
        if size < 1:
            raise ValueError(f"batch size {size}; give at least 1")
        self._function = function
        self._items = items
        self.size = size
        self.halvings = 0

    def run(self, items: Sequence[Item]) -> list[Result | UnusableError]:
        """Return the result of every item, in order; ``out_of_memory`` for an item that does not fit by itself."""
        results: list[Result | UnusableError] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            done = self._attempt(batch)
            if done is not None:
                results.extend(done)
            elif len(batch) > 1:
                self.size = len(batch) // 2
                self.halvings += 1
                logger.info("memory ran out with %d %s at once; now %d at once", len(batch), self._items, self.size)
            else:
                results.append(UnusableError(DropReason.OUT_OF_MEMORY, "not enough memory for this single image"))
        return results

    def _attempt(self, batch: Sequence[Item]) -> Sequence[Result | UnusableError] | None:
        try:
            return self._function(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, with the exception gone, the tensors of the failed attempt are released.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def begin_part(*models: object) -> None:
    """Announce a part to those models that are :class:`datasetkit.core.protocols.PartAware`."""
    for model in models:
        if hasattr(model, "begin_part"):
            model.begin_part()
