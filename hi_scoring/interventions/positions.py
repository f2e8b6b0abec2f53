"""Sets of positions by their names, and flows between them. Owns which tokens of a prompt are in which set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families.base import tokens_after
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.hi_scoring.interventions.questions import BoolArray, ClosedQuestion, Span
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.scores.formulas.binarise import object_tokens
from datasetkit.options.head_forms import POSITION_SETS, PositionSet, read_flow

_OF_IMAGE: frozenset[PositionSet] = frozenset({"image", "key object", "image without key object"})
_COVERAGE_MIN = 0.5


@dataclass(frozen=True)
class Flow:
    """A flow between sets of positions: the source holds the keys, the target the queries that see them."""

    source: PositionSet
    target: PositionSet

    @property
    def name(self) -> str:
        """The name of the flow, such as ``image -> last``."""
        return f"{self.source} -> {self.target}"

    @property
    def is_from_image(self) -> bool:
        """Whether all of its keys are image tokens."""
        return self.source in _OF_IMAGE

    @classmethod
    def of(cls, text: str) -> Flow:
        """Parse a flow's name.

        Raises:
            RecipeError: the text is not a flow.

        """
        return cls(*read_flow(text))


def find_positions(
    dialogue: Dialogue, item: ClosedQuestion, ids: Tensor, geometry: ImageTokens
) -> Mapping[PositionSet, Tensor]:
    """Return the slots of each set in one row of a batch, shape (N,), which ends with the prompt.

    ``image`` are all image tokens; ``key object`` those covering any of the objects that the answer depends on: at
    least half of the token is on the object, or, if there is no such token in a view, the best-covered one; ``image
    without key object`` all other tokens that show pixels; ``question`` the tokens of the bare question; ``options``
    those of the options, if the prompt has all of them; ``last`` the last token of the prompt.

    Returns:
        slots of each, int64, ascending, at least one; a set that the row does not have is left out.

    Raises:
        UnusableError: the objects do not belong to this image.
        ModelError: the model's processor does not place tokens as its family says, or its template changes texts.

    """
    image = dialogue.image_slots(ids, geometry)
    first, spans = _asked(dialogue, item, ids)
    places = {
        "question": first + _holding(spans, item.question_spans),
        "options": first + _holding(spans, item.options_spans),
        "last": torch.tensor([len(ids) - 1]),
        "image": image,
    }
    regions = item.regions(geometry.size_hw)
    if len(regions):
        key, others = _by_object(regions, geometry)
        places |= {"key object": image[key], "image without key object": image[others]}
        if not key.any():
            del places["image without key object"]
    return {name: places[name] for name in POSITION_SETS if name in places and len(places[name])}


def _asked(dialogue: Dialogue, item: ClosedQuestion, ids: Tensor) -> tuple[int, list[Span]]:
    """Find the user's text in a row.

    Returns:
        the slot of its first token; and [start, end) of each token from there on in code points of the text, including
        tokens of the template after it.

    """
    written, asked = dialogue.prompt(item.prompt), item.prompt.strip()
    begin = written.rfind(asked)
    if begin < 0:
        raise ModelError(f"the chat template does not copy {asked[:40]!r} unchanged; its tokens cannot be found")
    numbers, spans = tokens_after(dialogue.tokenizer, written, begin)
    # A family may add tokens after its prompts: the last occurrence of these tokens is the prompt's.
    for first in range(len(ids) - len(numbers), -1, -1):
        if ids[first : first + len(numbers)].tolist() == numbers:
            shift = len(item.prompt) - len(item.prompt.lstrip())
            return first, [(start + shift, end + shift) for start, end in spans]
    raise ModelError(
        f"the tokens of {asked[:40]!r} are not contiguous among those that the processor made; "
        "hi_scoring/families does not fit this tokenizer"
    )


def _holding(spans: Sequence[Span], wanted: Sequence[Span]) -> Tensor:
    """Return the indices of tokens that share a character with any of the wanted spans."""
    hit = [any(start < stop and begin < end for begin, stop in wanted) for start, end in spans]
    return torch.tensor(hit, dtype=torch.bool).nonzero()[:, 0]


def _by_object(regions: BoolArray, geometry: ImageTokens) -> tuple[Tensor, Tensor]:
    """Split image tokens into those of objects and others that show pixels: (O, H, W) to bool (image tokens,) each."""
    key, shown = torch.zeros(2, geometry.count, dtype=torch.bool)
    image = np.ones((1, *geometry.size_hw), bool)
    for view in geometry.views:
        coverage = torch.from_numpy(view.coverage(np.concatenate([regions, image])))
        tokens = torch.from_numpy(view.tokens)
        key[tokens] = object_tokens(coverage[:-1], _COVERAGE_MIN).any(dim=0)
        shown[tokens] = coverage[-1] > 0
    return key, shown & ~key
