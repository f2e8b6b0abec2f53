"""Which heads keep full attention, and what the others see. Owns the plan's file and the check that it fits a model."""

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
    """A plan as it is written."""

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

    A head that is not among the full ones sees of a prompt, from each token's row and never ahead of it: all text
    tokens, the first ``sink`` tokens, and the last ``window`` tokens, the row's own among them (Sun et al.,
    arXiv 2606.05843, give their sparse heads the same three; sizes and ``dense_above`` are ours).

    Args:
        model: whose heads these are.
        heads: query heads in each layer.
        full_heads: of each layer, the heads that keep full attention, rising.
        sink: first tokens of a prompt that every row sees; from 0.
        window: tokens that a row sees up to itself; from 1.
        dense_above: share of the pairs of row and key, in (0, 1], that a sparse head may see of a prompt; where it
            would see more, as in short prompts and those of much text, little is saved and all heads stay dense. With
            1, only prompts stay dense of which the sparse heads would see everything.
        chosen: how the full heads were chosen, for whoever reads the file; plain JSON values.

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
                raise RecipeError(f"layer {layer} keeps heads {full}; give each once, rising, of 0 to {self.heads - 1}")
        if self.sink < 0 or self.window < 1:
            raise RecipeError(f"sink {self.sink}, window {self.window}; give a sink from 0 and a window from 1")
        if not 0 < self.dense_above <= 1:
            raise RecipeError(f"dense_above is {self.dense_above}; give a share above 0 and at most 1")

    @classmethod
    def keeping(cls, heads: Iterable[Head], model: ModelIdentity, shape: tuple[int, int], **options: Any) -> SparsePlan:
        """Plan that these heads, in any order, each once, keep full attention; ``options`` are other fields.

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
        """How many the model has."""
        return len(self.full_heads)

    @property
    def kept(self) -> tuple[Head, ...]:
        """The heads that keep full attention, rising."""
        return tuple(Head(layer, head) for layer, full in enumerate(self.full_heads) for head in full)

    @property
    def full_by_layer(self) -> dict[str, list[int]]:
        """The heads that keep full attention, of each layer that has any, in plain JSON values."""
        return {str(layer): list(full) for layer, full in enumerate(self.full_heads) if full}

    def check(self, model: Any) -> None:
        """Refuse a model of another shape, and warn of one that the Hub has under another commit.

        A model of the same shape may still be another: what was loaded from a folder does not know its digest.

        Raises:
            ModelError: its text model has other numbers of layers or heads.

        """
        found = shape_of(model.config)
        if found != (self.layers, self.heads):
            raise ModelError(
                f"the plan is for {self.model.id}, {self.layers} layers of {self.heads} heads; this "
                f"{type(model).__name__} has {found[0]} of {found[1]}; give a plan of this model"
            )
        commit = getattr(model.config, "_commit_hash", None)
        if None not in (commit, self.model.revision) and commit != self.model.revision:
            warnings.warn(
                f"the plan is for {self.model.id} at commit {self.model.revision}; this {type(model).__name__} is "
                f"{model.config.name_or_path} at commit {commit}, whose heads may do other things",
                stacklevel=3,
            )

    def save(self, path: Path) -> None:
        """Write the plan as JSON, whole or not at all."""
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
        """Read what :meth:`save` wrote; of a folder, its ``plan.json``.

        Raises:
            BuiltFolderError: the file is no plan, or one that this version cannot read.
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
    """Read a plan's file, as far as values of the right types."""
    try:
        told = read_json(file)
    except DocumentError as error:
        raise _unreadable(file, error) from error
    if not isinstance(told, dict) or "format" not in told:
        raise _unreadable(file, "it names no format")
    return checked_facts(file, told, _PlanFacts, "plan of sparse prefill", "run `datasetkit sparsify` again")


def _unreadable(file: Path, why: object) -> BuiltFolderError:
    return BuiltFolderError(f"{file} is no plan of sparse prefill that can be read: {why}")
