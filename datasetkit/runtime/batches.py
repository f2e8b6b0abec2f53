"""Batches that shrink when memory runs out. Owns the halving, and what becomes of an item that does not fit alone."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from datasetkit.core.errors import UnusableError, is_out_of_memory
from datasetkit.core.ledger import DropReason

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """Calls a function on batches of items; halves the batch each time memory runs out, and keeps it so.

    Args:
        function: gives one result an item, in order; an error where an item has none.
        size: how many items it is given at once at first.

    """

    def __init__(self, function: Callable[[Sequence[Item]], Sequence[Result | UnusableError]], size: int) -> None:
        if size < 1:
            raise ValueError(f"batch size {size}; give at least 1")
        self._function = function
        self.size = size

    def run(self, items: Sequence[Item]) -> list[Result | UnusableError]:
        """Give the result of every item, in order; ``out_of_memory`` for one that does not fit alone."""
        results: list[Result | UnusableError] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            done = self._attempt(batch)
            if done is not None:
                results.extend(done)
            elif len(batch) > 1:
                self.size = len(batch) // 2
            else:
                results.append(UnusableError(DropReason.OUT_OF_MEMORY, "not enough memory for this image alone"))
        return results

    def _attempt(self, batch: Sequence[Item]) -> Sequence[Result | UnusableError] | None:
        try:
            return self._function(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, with the exception gone, does nothing hold the tensors of the failed attempt any more.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None
