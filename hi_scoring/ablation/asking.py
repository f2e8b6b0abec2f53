"""What a model says while heads are edited. Owns the batches of generation, and the probability of the right answer.

Text and probability come from one run: the first forward pass of generation ends at the last prompt position, whose
logits are those of the answer's first token, and the model was given nothing of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datasetkit.batches import Batches
from datasetkit.errors import ModelError, UnusableError
from hi_scoring.ablation.editors import HeadEditor
from hi_scoring.ablation.vision import SeenPictures
from hi_scoring.attention import instrumented
from hi_scoring.data.examples import Example, Examples
from hi_scoring.families import family_of
from hi_scoring.model.dialogue import Dialogue
from hi_scoring.model.options import WritingOptions
from hi_scoring.model.writing import Writer

# Makes the editor of one batch, of examples at these places; None leaves all heads as they are.
EditorOf = Callable[[Sequence[int]], HeadEditor] | None


@dataclass(frozen=True)
class Said:
    """What a model says to one example.

    Args:
        text: written greedily.
        probability: of the first token of the response that is wanted, before anything is written.

    """

    text: str
    probability: float


class Asker:
    """Asks one model.

    Args:
        model: an image-text-to-text model of a known family, in evaluation mode.
        processor: its processor.
        dialogue: how it is spoken to.
        examples: what it is asked.
        pictures: of the same model.

    Raises:
        ModelError: a response that is wanted has no token.

    """

    def __init__(
        self, model: Any, processor: Any, dialogue: Dialogue, examples: Examples, pictures: SeenPictures
    ) -> None:
        self._model = model
        self._writer = Writer(model, processor, dialogue)
        self._examples = examples
        self._pictures = pictures
        self._wanted = [_first_token(processor, model.config, dialogue, example) for example in examples.items]

    def ask(
        self, editor_of: EditorOf, options: WritingOptions, batch: int, on_progress: Callable[[int], None]
    ) -> list[Said | None]:
        """Ask everything; examples of one task and of prompts alike in length go together.

        Args:
            editor_of: edits heads.
            options: how much the model may write.
            batch: examples at once; halved when memory runs out.
            on_progress: told how many examples are done.

        Returns:
            what is said to each example; None where it does not fit into memory alone.

        """
        items = self._examples.items
        said: list[Said | None] = [None] * len(items)
        done = 0
        for task, most in (("caption", options.caption_tokens), ("vqa", options.answer_tokens)):
            order = sorted(
                (place for place, example in enumerate(items) if example.task == task),
                key=lambda place: len(items[place].prompt),
            )
            batches = Batches(partial(self._ask, editor_of, most), batch)
            for start in range(0, len(order), batch):
                places = order[start : start + batch]
                for place, result in zip(places, batches.run(places), strict=True):
                    said[place] = None if isinstance(result, UnusableError) else result
                done += len(places)
                on_progress(done)
        return said

    def _ask(self, editor_of: EditorOf, most: int, places: Sequence[int]) -> list[Said]:
        examples = [self._examples.items[place] for place in places]
        images = [self._examples.picture(example) for example in examples]
        # Without an editor, too: where scores are capped, only like is compared with like then.
        editors = [] if editor_of is None else [editor_of(places)]
        with (
            self._pictures.of(tuple(example.row for example in examples)),
            instrumented(self._model, editors=editors),
            _first_logits(self._model) as logits,
        ):
            texts = self._writer.write(images, [example.prompt for example in examples], most)
        wanted = torch.tensor([self._wanted[place] for place in places])
        probabilities = logits[0].cpu().softmax(-1).gather(1, wanted[:, None])[:, 0].tolist()
        return [Said(text, probability) for text, probability in zip(texts, probabilities, strict=True)]


def _first_token(processor: Any, config: Any, dialogue: Dialogue, example: Example) -> int:
    """Give the token that the response which is wanted begins with."""
    tokens, _ = family_of(config).response_tokens(processor, dialogue.prompt(example.prompt), example.response)
    if not tokens:
        raise ModelError(f"the tokenizer knows nothing of {example.response!r} in {example.record_id}; leave it out")
    return tokens[0]


@contextmanager
def _first_logits(model: Any) -> Iterator[list[Tensor]]:
    """Note the logits after the last position of the first forward pass in the body, shape (B, V), float32."""
    found: list[Tensor] = []

    def note(_: Any, __: Any, output: Any) -> None:
        if not found:
            found.append(output.logits[:, -1].float())

    handle = model.register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()
