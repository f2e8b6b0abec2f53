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
    """From which positions to which: the first are keys, the second the queries that see them."""

    source: PositionSet
    target: PositionSet

    @property
    def name(self) -> str:
        """What it is called: ``image -> last``."""
        return f"{self.source} -> {self.target}"

    @property
    def is_from_image(self) -> bool:
        """Whether all of its keys are image tokens."""
        return self.source in _OF_IMAGE

    @classmethod
    def of(cls, text: str) -> Flow:
        """Read a flow's name.

        Raises:
            RecipeError: it is none.

        """
        return cls(*read_flow(text))


def find_positions(
    dialogue: Dialogue, item: ClosedQuestion, ids: Tensor, geometry: ImageTokens
) -> Mapping[PositionSet, Tensor]:
    """Find each set in one row of a batch, of shape (N,), which ends with the prompt.

    ``image`` are all image tokens; ``key object`` those of any of the objects that the answer rests on: those of which
    at least half lies on the object, in each view the best-covered one where none does; ``image without key object``
    all others that show pixels; ``question`` the tokens of the bare question; ``options`` those of the options, where
    the prompt has all of them; ``last`` the last of the prompt.

    Returns:
        slots of each, int64, ascending, at least one; a set that the row does not have is left out.

    Raises:
        UnusableError: the objects are none of this image.
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
    """Find what was asked in a row.

    Returns:
        the slot of its first token; and [start, end) of each token from there on in code points of what was asked,
        those of the template after it included.

    """
    written, asked = dialogue.prompt(item.prompt), item.prompt.strip()
    begin = written.rfind(asked)
    if begin < 0:
        raise ModelError(f"the chat template does not write {asked[:40]!r} as it is; its tokens cannot be found")
    numbers, spans = tokens_after(dialogue.tokenizer, written, begin)
    # A family may set more after its prompts: the last place where these tokens stand is theirs.
    for first in range(len(ids) - len(numbers), -1, -1):
        if ids[first : first + len(numbers)].tolist() == numbers:
            shift = len(item.prompt) - len(item.prompt.lstrip())
            return first, [(start + shift, end + shift) for start, end in spans]
    raise ModelError(
        f"the tokens of {asked[:40]!r} do not stand together among those that the processor made; "
        "hi_scoring/families does not fit this tokenizer"
    )


def _holding(spans: Sequence[Span], wanted: Sequence[Span]) -> Tensor:
    """Number the tokens that share a character with any of the wanted spans."""
    hit = [any(start < stop and begin < end for begin, stop in wanted) for start, end in spans]
    return torch.tensor(hit, dtype=torch.bool).nonzero()[:, 0]


def _by_object(regions: BoolArray, geometry: ImageTokens) -> tuple[Tensor, Tensor]:
    """Tell the image tokens of objects from the others that show pixels: (O, H, W) to bool, (image tokens,) each."""
    key, shown = torch.zeros(2, geometry.count, dtype=torch.bool)
    image = np.ones((1, *geometry.size_hw), bool)
    for view in geometry.views:
        coverage = torch.from_numpy(view.coverage(np.concatenate([regions, image])))
        tokens = torch.from_numpy(view.tokens)
        key[tokens] = object_tokens(coverage[:-1], _COVERAGE_MIN).any(dim=0)
        shown[tokens] = coverage[-1] > 0
    return key, shown & ~key
