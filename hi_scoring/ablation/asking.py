"""A model's responses while heads are edited. Owns the probability of the right answer, taken from the same run.

The first forward pass of generation ends at the last prompt position, whose logits are those of the answer's first
token, and the model has seen nothing of the answer yet. As answers are compared without regard to case (see
:func:`datasetkit.hi_scoring.evaluation.answers.is_right`), the probability of an answer is that of its first token as
it is, in lower case or capitalised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.ablation.editors import HeadEditor
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.attention import instrumented
from datasetkit.hi_scoring.data.examples import Example, Examples
from datasetkit.hi_scoring.evaluation.asking import ask_all
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import write
from datasetkit.options.heads import WritingOptions

# Makes the editor for one batch of examples, given by their indices; None leaves all heads unchanged.
EditorOf = Callable[[Sequence[int]], HeadEditor] | None


@dataclass(frozen=True)
class Said:
    """A model's response to one example, and the probability of the first tokens of the expected response."""

    text: str
    probability: float


class Asker:
    """Asks one model of a known family, in evaluation mode, and returns its responses.

    Raises:
        ModelError: an expected response has no token.

    """

    def __init__(self, model: Any, dialogue: Dialogue, examples: Examples, images: SeenImages) -> None:
        self._model = model
        self._dialogue = dialogue
        self._examples = examples
        self._images = images
        self._wanted = [_first_tokens(dialogue, example) for example in examples.items]

    def ask(
        self, editor_of: EditorOf, options: WritingOptions, batch: int, on_progress: Callable[[int], None]
    ) -> list[Said]:
        """Ask all prompts; see :func:`datasetkit.hi_scoring.evaluation.asking.ask_all`.

        Raises:
            ModelError: a single example does not fit into memory.

        """
        ask = self._images.giving_way(partial(self._ask, editor_of))
        return ask_all(self._examples, ask, options, batch, on_progress)

    def _ask(self, editor_of: EditorOf, most: int, places: Sequence[int]) -> list[Said]:
        examples = [self._examples.items[place] for place in places]
        images = [self._examples.image(example) for example in examples]
        # Also without an editor, so that models with capped scores run the same code in all conditions.
        editors = [] if editor_of is None else [editor_of(places)]
        with (
            self._images.of(tuple(example.row for example in examples)),
            instrumented(self._model, editors=editors),
            _first_logits(self._model) as logits,
        ):
            texts = write(self._model, self._dialogue, images, [example.prompt for example in examples], most)
        probabilities = logits[0].cpu().softmax(-1)
        return [
            Said(text, float(row[self._wanted[place]].sum()))
            for text, row, place in zip(texts, probabilities, places, strict=True)
        ]


def _first_tokens(dialogue: Dialogue, example: Example) -> list[int]:
    """Return the tokens that the expected response may begin with."""
    tokens = dialogue.first_tokens(dialogue.prompt(example.prompt), example.response)
    if not tokens:
        raise ModelError(f"the tokenizer has no tokens for {example.response!r} in {example.record_id}; leave it out")
    return list(tokens)


@contextmanager
def _first_logits(model: Any) -> Iterator[list[Tensor]]:
    """Record the logits after the last position of the first forward pass in the body, shape (B, V), float32."""
    found: list[Tensor] = []

    def note(_: Any, __: Any, output: Any) -> None:
        if not found:
            found.append(output.logits[:, -1].float())

    handle = model.register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()
