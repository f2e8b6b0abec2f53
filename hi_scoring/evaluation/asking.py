"""Examples put to a model in batches. Owns which go together, and that every one of them is answered for.

What a model does not say for want of memory would count as a wrong answer, and look like an effect of what was done to
the model. So an example that does not fit into memory alone ends the measurement.
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
    """Ask a model everything; examples of one task and of prompts alike in length go together.

    ``ask`` gives one result an example: of how many tokens may be written, and the examples' places.

    Returns:
        the results, in the order of the examples.

    Raises:
        ModelError: an example does not fit into memory alone.

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
    """Call a function on batches of examples; those of prompts alike in length go together, for the least padding.

    The function gives one result an example, of the examples' places; batches are halved when memory runs out.

    Returns:
        the results, in the order of ``places``.

    Raises:
        ModelError: an example does not fit into memory alone.

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
                    f"not enough memory for {example.record_id} alone, asked {example.prompt[:_SHOWN_CHARACTERS]!r}; "
                    "without it nothing can be compared: give shorter texts, a smaller dtype or another device"
                ) from result
            results[place] = result
        on_progress(len(results))
    return [results[place] for place in places]
