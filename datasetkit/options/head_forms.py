"""Written forms of selections, flows, heads and prompts. Owns their syntax everywhere."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator

from datasetkit.core.errors import RecipeError

PositionSet = Literal["image", "key object", "image without key object", "question", "options", "last"]
POSITION_SETS: tuple[PositionSet, ...] = get_args(PositionSet)
# The flows of Zhang et al., "Cross-modal Information Flow in Multimodal Large Language Models" (arXiv 2411.18620).
FLOW_NAMES = (
    "image -> question",
    "image -> last",
    "question -> last",
    "last -> last",
    "key object -> question",
    "key object -> last",
    "image without key object -> question",
    "image without key object -> last",
    "options -> last",
)
SELECTIONS = (
    "top-layers:K",
    "bottom-layers:K",
    "random-layers:K:SEED",
    "top-heads:K",
    "bottom-heads:K",
    "random-heads:K:SEED",
    "layers:1,5,9",
    "all",
)
# Rule, unit, number and seed; without a seed, a random selection is drawn anew for each training seed.
RANKED = re.compile(r"(?P<rule>top|bottom|random)-(?P<unit>layers|heads):(?P<k>[0-9]+)(?::(?P<seed>[0-9]+))?")
GIVEN_LAYERS = re.compile(r"layers:([0-9]+(?:,[0-9]+)*)")

Item = TypeVar("Item")


def each_once(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Refuse repeated items."""
    if len(set(items)) != len(items):
        raise ValueError(f"name each item once, not {', '.join(map(str, items))}")
    return items


Once = AfterValidator(each_once)


def read_flow(text: str) -> tuple[PositionSet, PositionSet]:
    """Read SOURCE->TARGET: the positions of the keys, and of the queries that attend to them.

    Raises:
        RecipeError: the text is not a flow.

    """
    source, _, target = (part.strip() for part in text.partition("->"))
    known = {name: name for name in POSITION_SETS}
    if source not in known or target not in known:
        raise RecipeError(f"{text!r} is not a flow; give SOURCE->TARGET, each of {', '.join(POSITION_SETS)}")
    return known[source], known[target]


def check_template(template: str) -> str:
    """Refuse text that is not a question template."""
    try:
        written = template.format(question="\0", options="")
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"not a template with the fields {{question}} and {{options}}: {error!r}") from error
    if "\0" not in written:
        raise ValueError("the template lacks {question}")
    return template


QuestionPrompt = Annotated[str, AfterValidator(check_template)]


def read_heads(value: object) -> object:
    """Read heads typed as comma-separated LAYER.HEAD."""
    if not isinstance(value, str):
        return value
    heads = [re.fullmatch(r"\s*([0-9]+)\.([0-9]+)\s*", one) for one in value.split(",")]
    if not all(heads):
        raise ValueError("give LAYER.HEAD, both counted from 0, such as 2.6,3.7")
    return tuple((int(head[1]), int(head[2])) for head in heads if head)


def check_selection(text: str, *, needs_seed: bool = False) -> str:
    """Refuse text in none of the forms of ``SELECTIONS``, and random selections without a seed if they need one."""
    match = RANKED.fullmatch(text)
    if match is None:
        fits = text == "all" or GIVEN_LAYERS.fullmatch(text) is not None
    else:
        has_seed, is_random = match["seed"] is not None, match["rule"] == "random"
        fits = has_seed == is_random or (is_random and not needs_seed)
    if not fits:
        raise RecipeError(f"{text!r} is not a selection; known: {', '.join(SELECTIONS)}")
    return text
