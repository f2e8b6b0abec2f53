"""Ask a model examples in batches. Owns which go together, and that every example gets an answer.

An answer missing because memory ran out would count as wrong, and look like an effect of the change to the model. So a
single example that does not fit into memory ends the measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.options.heads import WritingOptions
from datasetkit.runtime.batches import Batches

Result = TypeVar("Result")
_SHOWN_CHARACTERS = 60


def ask_all(
    examples: Examples,
    ask: Callable[[int, Sequence[int]], Sequence[Result]],
    options: WritingOptions,
    batch: int,
    on_progress: Callable[[int], None],
) -> list[Result]:
    """Ask a model all examples; examples of one task and with prompts of similar length go together.

    ``ask`` is called with the maximum number of tokens to write and the examples' indices; it returns one result per
    example.

    Returns:
        the results, in the order of the examples.

    Raises:
        ModelError: a single example does not fit into memory.

    """
    results: dict[int, Result] = {}
    for task, most in (("caption", options.caption_tokens), ("vqa", options.answer_tokens)):
        places = [place for place, example in enumerate(examples.items) if example.task == task]
        found = in_batches(examples, places, partial(ask, most), batch, lambda done: on_progress(len(results) + done))
        results.update(zip(places, found, strict=True))
    return [results[place] for place in range(len(examples))]


def in_batches(
    examples: Examples,
    places: Sequence[int],
    function: Callable[[Sequence[int]], Sequence[Result]],
    batch: int,
    on_progress: Callable[[int], None],
) -> list[Result]:
    """Call a function on batches of examples; prompts of similar length go together, which minimises padding.

    The function receives the examples' indices and returns one result per example; batches are halved when memory runs
    out.

    Returns:
        the results, in the order of ``places``.

    Raises:
        ModelError: a single example does not fit into memory.

    """
    results: dict[int, Result] = {}
    batches = Batches(function, batch)
    order = sorted(places, key=lambda place: len(examples.items[place].prompt))
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        for place, result in zip(some, batches.run(some), strict=True):
            if isinstance(result, UnusableError):
                example = examples.items[place]
                raise ModelError(
                    f"not enough memory for {example.record_id} alone, prompt {example.prompt[:_SHOWN_CHARACTERS]!r}; "
                    "results cannot be compared without it: give shorter texts, a smaller dtype or another device"
                ) from result
            results[place] = result
        on_progress(len(results))
    return [results[place] for place in places]
