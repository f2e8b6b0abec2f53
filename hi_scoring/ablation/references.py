"""Head outputs on unchanged data. Owns which samples the outputs are taken from, and their batches.

A reference is an example as it is in the data: its prompt with the expected response and the token that ends the
model's turn (teacher forcing), run through the unchanged model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasetkit.core.errors import SourceError
from datasetkit.hi_scoring.ablation.editors import Donated, Heads, OutputCapture, OutputSums
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.attention import Editor, instrumented
from datasetkit.hi_scoring.data.examples import Example, Examples
from datasetkit.hi_scoring.evaluation.asking import in_batches
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import on_device
from datasetkit.options.heads import Task


class References:
    """Runs references through one model of a known family, in evaluation mode."""

    def __init__(self, model: Any, dialogue: Dialogue, examples: Examples, images: SeenImages) -> None:
        self._model = model
        self._dialogue = dialogue
        self._examples = examples
        self._seen_images = images
        self._means: Tensor | None = None
        self._images: dict[tuple[int, ...], Tensor] = {}

    def means(self, batch: int, on_progress: Callable[[int], None] = lambda _: None) -> Tensor:
        """Return the mean outputs of all heads over the tokens of all references: image, prompt, response, template.

        Image tokens get a separate mean: most tokens are image tokens, and heads behave differently there than at
        words. The means are computed once; later calls return the same tensor.

        Returns:
            shape (2, L, H, D), float32, on the CPU: the mean over all tokens that are not image tokens, and the mean
            over those that are.

        Raises:
            ModelError: a single reference does not fit into memory.

        """
        if self._means is not None:
            return self._means
        totals: dict[int, Tensor] = {}
        counts = torch.zeros(2, 1, 1, dtype=torch.long)

        def add(places: Sequence[int]) -> list[None]:
            inputs = self._encoded(places)
            is_image = self._is_image(inputs)
            counted = torch.stack([inputs["attention_mask"].bool() & ~is_image, is_image])
            found = OutputSums(counted)
            self._read(places, inputs, found)
            # Added only here, since memory may run out above; on the CPU, because not every device has float64.
            counts.add_(counted.sum((1, 2))[:, None, None])
            for layer, sums in found.sums.items():
                totals[layer] = totals.get(layer, torch.zeros(())) + sums.double().cpu()
            return [None] * len(places)

        every = range(len(self._examples))
        in_batches(self._examples, every, self._seen_images.giving_way(add), batch, on_progress)
        self._means = torch.stack([totals[layer] / counts for layer in sorted(totals)], 1).float()
        return self._means

    def image_slots(self, places: Sequence[int]) -> Tensor:
        """Return which slots of a batch of these examples' prompts hold image tokens: (B, N) bool, on the CPU."""
        key = tuple(places)
        if key not in self._images:
            self._images[key] = self._is_image(self._encoded(places, with_responses=False))
        return self._images[key]

    def _is_image(self, inputs: dict[str, Any]) -> Tensor:
        found: Tensor = inputs["input_ids"] == self._model.config.image_token_id
        return found

    def donated(self, places: Sequence[int], heads: Heads) -> Donated:
        """Run references, given by their indices among the examples, and return the outputs of the heads."""
        inputs, capture = self._encoded(places), OutputCapture(heads)
        self._read(places, inputs, capture)
        last = [
            int(self._dialogue.target(ids, self._dialogue.prompt(example.prompt), example.response)[0]) - 1
            for ids, example in zip(inputs["input_ids"], self._at(places), strict=True)
        ]
        return Donated(capture.outputs, inputs["attention_mask"].argmax(1), torch.tensor(last))

    def _at(self, places: Sequence[int]) -> list[Example]:
        return [self._examples.items[place] for place in places]

    def _encoded(self, places: Sequence[int], *, with_responses: bool = True) -> dict[str, Any]:
        examples = self._at(places)
        return self._dialogue.encode(
            [self._examples.image(example) for example in examples],
            [self._dialogue.prompt(example.prompt) for example in examples],
            [example.response + self._dialogue.closing for example in examples] if with_responses else None,
        )

    @torch.inference_mode()
    def _read(self, places: Sequence[int], inputs: dict[str, Any], editor: Editor) -> None:
        rows = tuple(example.row for example in self._at(places))
        with self._seen_images.of(rows), instrumented(self._model, editors=[editor]):
            self._model(**on_device(inputs, self._model), logits_to_keep=1, use_cache=False)


def donors_of(examples: Examples, seed: int) -> list[int]:
    """Draw a donor for each example: another example of the same task with another image, all equally likely.

    Args:
        examples: at least two images for each task.
        seed: for the draws.

    Returns:
        the donors' indices among the examples.

    Raises:
        SourceError: all examples of a task have the same image.

    """
    by_task: dict[Task, list[int]] = defaultdict(list)
    for place, example in enumerate(examples.items):
        by_task[example.task].append(place)
    random = np.random.default_rng(seed)
    donors = [0] * len(examples)
    for task, places in by_task.items():
        images = [examples.image_id(examples.items[place]) for place in places]
        if len(set(images)) == 1:
            raise SourceError(
                f"{examples.data.identity.name} has only one image for {task}, so there is no other image to take head "
                "outputs from; give more rows, or leave out the mode resample"
            )
        for place, image in zip(places, images, strict=True):
            donor = random.integers(len(places))
            while images[donor] == image:
                donor = random.integers(len(places))
            donors[place] = places[donor]
    return donors
