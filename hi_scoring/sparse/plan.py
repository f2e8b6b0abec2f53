"""Plans: which heads keep full attention, and what the others see. Owns the file and the check that a model fits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

import datasetkit
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.documents import DocumentError, read_json
from datasetkit.core.errors import BuiltFolderError, ModelError, RecipeError
from datasetkit.hi_scoring.model.subject import shape_of
from datasetkit.hi_scoring.runs.facts import Facts, ModelFacts, Size, checked_facts
from datasetkit.hi_scoring.runs.files import write_facts
from datasetkit.hi_scoring.scores.results import Head

PLAN_NAME = "plan.json"
_FORMAT = 1
_OPTIONS = ("sink", "window", "dense_above", "chosen")


class _PlanFacts(Facts):
    """The contents of a plan's file."""

    FORMAT: ClassVar[int | None] = _FORMAT

    model: ModelFacts
    layers: Size
    heads: Size
    sink: int
    window: int
    dense_above: float
    chosen: dict[str, Any]
    full_heads: dict[Annotated[str, Field(pattern=r"^\d+$")], list[int]]


@dataclass(frozen=True)
class SparsePlan:
    """A plan of sparse prefill for one model.

    A head that is not among the full ones sees, in each row of a prompt and never ahead of it: all text tokens, the
    first ``sink`` tokens, and the last ``window`` tokens including the row's token (the sparse heads of Sun et al.,
    arXiv 2606.05843, see the same three; sizes and ``dense_above`` are ours).

    Args:
        model: the model that the heads belong to.
        heads: number of query heads in each layer.
        full_heads: for each layer, the heads that keep full attention, ascending.
        sink: number of first tokens of a prompt that every row sees; from 0.
        window: number of tokens that a row sees up to itself; from 1.
        dense_above: maximum share, in (0, 1], of the pairs of row and key that a sparse head may see in a prompt; if it
            would see more, as in short prompts and those with much text, little is saved and all heads stay dense. With
            1, only prompts in which sparse heads would see everything stay dense.
        chosen: how the full heads were chosen, for readers of the file; plain JSON values.

    Raises:
        RecipeError: a value is out of range, or a layer has no such head.

    """

    model: ModelIdentity
    heads: int
    full_heads: tuple[tuple[int, ...], ...]
    sink: int = 4
    window: int = 128
    dense_above: float = 0.5
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.full_heads or self.heads < 1:
            raise RecipeError(f"a plan of {len(self.full_heads)} layers of {self.heads} heads; give at least one each")
        for layer, full in enumerate(self.full_heads):
            if any(not 0 <= head < self.heads for head in full) or any(one >= two for one, two in pairwise(full)):
                raise RecipeError(
                    f"layer {layer} keeps heads {full}; give each once, ascending, from 0 to {self.heads - 1}"
                )
        if self.sink < 0 or self.window < 1:
            raise RecipeError(f"sink {self.sink}, window {self.window}; give a sink from 0 and a window from 1")
        if not 0 < self.dense_above <= 1:
            raise RecipeError(f"dense_above is {self.dense_above}; give a share above 0 and at most 1")

    @classmethod
    def keeping(cls, heads: Iterable[Head], model: ModelIdentity, shape: tuple[int, int], **options: Any) -> SparsePlan:
        """Return a plan in which these heads, in any order, keep full attention; ``options`` are other fields.

        Raises:
            RecipeError: the model has no such head, or a value is out of range.

        """
        kept: list[list[int]] = [[] for _ in range(shape[0])]
        for layer, head in sorted(heads):
            if not 0 <= layer < shape[0]:
                raise RecipeError(
                    f"head {head} of layer {layer} is to be kept; the model has layers 0 to {shape[0] - 1}"
                )
            kept[layer].append(head)
        return cls(model, shape[1], tuple(map(tuple, kept)), **options)

    @property
    def layers(self) -> int:
        """The number of layers of the model."""
        return len(self.full_heads)

    @property
    def kept(self) -> tuple[Head, ...]:
        """The heads that keep full attention, ascending."""
        return tuple(Head(layer, head) for layer, full in enumerate(self.full_heads) for head in full)

    @property
    def full_by_layer(self) -> dict[str, list[int]]:
        """Return the heads that keep full attention by layer, for layers that have any, as plain JSON values."""
        return {str(layer): list(full) for layer, full in enumerate(self.full_heads) if full}

    def check(self, model: Any) -> None:
        """Refuse a model of another shape, and warn about one from another commit on the Hub.

        A model of the same shape may still be a different one: a model loaded from a folder does not know its digest.

        Raises:
            ModelError: its text model has other numbers of layers or heads.

        """
        found = shape_of(model.config)
        if found != (self.layers, self.heads):
            raise ModelError(
                f"the plan is for {self.model.id}, {self.layers} layers of {self.heads} heads; this "
                f"{type(model).__name__} has {found[0]} of {found[1]}; give a plan for this model"
            )
        commit = getattr(model.config, "_commit_hash", None)
        if None not in (commit, self.model.revision) and commit != self.model.revision:
            warnings.warn(
                f"the plan is for {self.model.id} at commit {self.model.revision}; this {type(model).__name__} is "
                f"{model.config.name_or_path} at commit {commit}, whose heads may behave differently",
                stacklevel=3,
            )

    def save(self, path: Path) -> None:
        """Write the plan as JSON, atomically."""
        identity = {name: value for name, value in asdict(self.model).items() if name != "role"}
        told = {
            "format": _FORMAT,
            "made_by": f"datasetkit {datasetkit.__version__}",
            "model": identity,
            "layers": self.layers,
            "heads": self.heads,
            **{name: getattr(self, name) for name in _OPTIONS},
            "full_heads": self.full_by_layer,
        }
        write_facts(path, told, ensure_ascii=False)

    @classmethod
    def load(cls, path: Path | str) -> SparsePlan:
        """Read what :meth:`save` wrote; for a folder, its ``plan.json``.

        Raises:
            BuiltFolderError: the file is not a plan, or this version cannot read it.
            OSError: there is no such file.

        """
        file = Path(path) / PLAN_NAME if Path(path).is_dir() else Path(path)
        told = _parsed(file)
        try:
            heads = [Head(int(layer), head) for layer, full in told["full_heads"].items() for head in full]
            return cls.keeping(
                heads,
                ModelIdentity(role="model", **told["model"]),
                (told["layers"], told["heads"]),
                **{name: told[name] for name in _OPTIONS},
            )
        except (TypeError, ValueError) as error:
            raise _unreadable(file, error) from error


def _parsed(file: Path) -> dict[str, Any]:
    """Read a plan's file and check the types of its values."""
    try:
        told = read_json(file)
    except DocumentError as error:
        raise _unreadable(file, error) from error
    if not isinstance(told, dict) or "format" not in told:
        raise _unreadable(file, "it names no format")
    return checked_facts(file, told, _PlanFacts, "plan of sparse prefill", "run `datasetkit sparsify` again")


def _unreadable(file: Path, why: object) -> BuiltFolderError:
    return BuiltFolderError(f"{file} is not a plan of sparse prefill that can be read: {why}")
