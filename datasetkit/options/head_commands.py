"""Options of the commands about attention heads, one flat class each. Owns what does not decide results, and defaults.

What a command records of its options is a part of its class: ``command.part(ScoreOptions)``.
"""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from datasetkit.options.base import ClassName, Commas, Device, Dtype, Options, Several, Typed
from datasetkit.options.head_forms import Once, QuestionPrompt, check_selection
from datasetkit.options.heads import (
    SCORE_NAMES,
    AblationOptions,
    AdapterOptions,
    KnockoutOptions,
    ScoreOptions,
    SparsityOptions,
    TextOptions,
    TrainingOptions,
    WritingOptions,
    score_name,
)
from datasetkit.runtime.checkpoints import check_shipped, resolve

# Of numpy's generator.
_LAST_SEED = 2**32 - 1


def _as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, PathLike) else value


def _check_model(model: Any) -> Any:
    return check_shipped(os.fspath(model)) if isinstance(model, str | PathLike) else model


def _check_shard(text: str) -> str:
    number, _, processes = text.partition("/")
    if not (number.isdecimal() and processes.isdecimal() and 1 <= int(number) <= int(processes)):
        raise ValueError("give I/N, as 1/4, with I from 1 to N")
    return text


def _check_layer_score(text: str) -> str:
    if not re.fullmatch(r"mean|max|[1-9][0-9]*", text):
        raise ValueError("give mean, max, or a number of heads from 1")
    return text


Selection = Annotated[str, AfterValidator(check_selection)]
Seed = Annotated[int, Field(ge=0, le=_LAST_SEED)]
Rows = Annotated[Any, BeforeValidator(_as_text), Typed("FOLDER|USER/NAME[@REVISION]")]
Scores = Annotated[Path, Typed("FOLDER")]


class HeadsCommand(Options):
    """What every command takes that runs a model on rows.

    In Python, a model may also be a pair of loaded objects, and rows a ``datasets.Dataset`` or a list of dictionaries.
    """

    model: Annotated[str | tuple[Any, Any], BeforeValidator(_check_model), Typed("NAME")]
    """Image-text-to-text model: Hub id, local folder, or toyworld:vlm."""
    data: Rows
    """Rows with images, and texts or questions: built folder, dataset on the Hub, or any that have the columns."""
    out: Path | None = None
    """Folder for the results."""
    revision: str | None = None
    """Commit, tag or branch of the model on the Hub.  [default: the newest]"""
    split: str | None = None
    """Split to ask.  [default: test, or the only one]"""
    limit: int | None = Field(default=None, ge=1)
    """Take the first N rows only."""
    family: ClassName | None = None
    """Family of the model: name of a plug-in, or package.module:Class.  [default: by the model's type]"""
    device: Device = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "float32"
    """Type of the model's weights."""
    overwrite: bool = False
    """Replace other results in OUT."""

    @field_validator("revision")
    @classmethod
    def _of_what_has_some(cls, revision: str | None, info: ValidationInfo) -> str | None:
        model = info.data.get("model", "")
        if revision is not None and (not isinstance(model, str) or Path(resolve(model)).is_dir()):
            raise ValueError("the model is on this machine and has no revisions; leave it out")
        return revision


class ScoreCommand(ScoreOptions, HeadsCommand):
    """Options of ``score``."""

    out: Path | None = None
    """Folder for the results.  [default: scores/MODEL--DATA]"""
    split: str | None = None
    """Split to score on.  [default: train, or the only one]"""
    by: Annotated[str | None, Typed("SCORE:POSITIONS")] = None
    """What heads and layers are ranked by.  [default: hi at the first of the positions]"""
    top: int = Field(default=10, ge=1)
    """Heads to list and to draw."""
    batch: int = Field(default=8, ge=1)
    """Samples in one forward pass; halved when memory runs out."""

    @field_validator("by")
    @classmethod
    def _is_scored(cls, by: str | None, info: ValidationInfo) -> str | None:
        scores = (*SCORE_NAMES, *map(score_name, info.data.get("scores", ())))
        score, _, place = (by or "").partition(":")
        positions = info.data.get("positions", (place,))
        if by is not None and (score not in scores or place not in positions):
            raise ValueError(
                f"give SCORE:POSITIONS, a score of {', '.join(scores)} and positions that are scored "
                f"({', '.join(positions)})"
            )
        return by

    @property
    def ranking(self) -> str:
        """SCORE:POSITIONS that heads are ranked by."""
        return self.by or f"hi:{self.positions[0]}"


class KnockoutCommand(KnockoutOptions, HeadsCommand):
    """Options of ``knockout``."""

    data: Annotated[Rows, Typed("FOLDER|USER/NAME[@REVISION]|TABLE")]
    """Rows with closed questions, or a .csv or .parquet of image, question and answer."""
    out: Path | None = None
    """Folder for the results.  [default: knockouts/MODEL--DATA]"""
    question_prompt: QuestionPrompt = "{question}"
    """Prompt that asks a question, of {question} and {options}."""
    batch: int = Field(default=16, ge=1)
    """Blocked copies of a question at once; halved when memory runs out."""


class AskCommand(TextOptions, WritingOptions, HeadsCommand):
    """What commands take that ask a model for texts and answers."""


class AblateCommand(AblationOptions, AskCommand):
    """Options of ``ablate``."""

    out: Path | None = None
    """Folder for the results.  [default: ablated/MODEL--DATA]"""
    batch: int = Field(default=32, ge=1)
    """Examples at once; halved when memory runs out."""
    scores: Scores | None = None
    """Head scores of the model, as `datasetkit score` wrote them."""
    by: Annotated[tuple[str, ...], Several, Once, Typed("SCORE:POSITIONS", is_repeatable=True)] = ()
    """What the scores rank heads by, as ram:response or image_mass:last; repeatable.  [default: hi:response]"""
    table: Annotated[Path | None, Typed("FILE")] = None
    """A ranking of your own: CSV or Parquet with the columns layer, head and score."""

    @model_validator(mode="after")
    def _ranked_by_something(self) -> Self:
        if self.scores is None and (self.by or self.table is None):
            raise ValueError("heads are ranked by scores or by a table; give --scores or --table")
        return self

    @property
    def rankings(self) -> tuple[str, ...]:
        """SCORE:POSITIONS that the scores rank heads by."""
        return () if self.scores is None else self.by or ("hi:response",)


class SparsifyCommand(SparsityOptions, AskCommand):
    """Options of ``sparsify``."""

    out: Path | None = None
    """Folder for the results.  [default: sparse/MODEL--DATA]"""
    scores: Scores
    """Head scores of the model, as `datasetkit score` wrote them."""
    batch: int = Field(default=32, ge=1)
    """Examples at once; halved when memory runs out."""
    kernel: Literal["blocks", "flex"] = "blocks"
    """Kernel of the sparse heads: blocks, or flex (CUDA only), compiled for seconds at each new size."""
    draws: int = Field(default=5, ge=1)
    """Random sets of as many heads; the fewer, the less is known of their spread."""


class TuningCommand(TrainingOptions, AdapterOptions, AskCommand):
    """What ``tune`` and ``compare`` have in common."""

    out: Path | None = None
    """Folder for the results.  [default: tuned/MODEL--DATA]"""
    scores: Scores | None = None
    """Head scores of the model, as `datasetkit score` wrote them."""
    by: Annotated[str, Typed("SCORE:POSITIONS")] = "hi:response"
    """What layers and heads are ranked by."""
    layer_score: Annotated[str, BeforeValidator(str), AfterValidator(_check_layer_score)] = "mean"
    """A layer's score: mean or max over its heads, or the mean of its N best."""
    split: str | None = None
    """Split to learn.  [default: train, or the only one]"""
    test: Rows | None = None
    """Rows to test on.  [default: the same]"""
    test_split: str | None = None
    """Split to test on.  [default: test, or the only one]"""
    forgetting: Rows | None = None
    """Rows of what the model could before, tested as well."""
    forgetting_split: str | None = None
    """Split of these.  [default: test, or the only one]"""
    test_limit: int | None = Field(default=None, ge=1)
    """Test on the first N rows of each only."""
    test_batch: int = Field(default=32, ge=1)
    """Examples tested at once; halved when memory runs out."""
    validation_split: str | None = None
    """Split of the data whose loss ends training early."""

    @model_validator(mode="after")
    def _patience_has_a_split(self) -> Self:
        if (self.patience is None) != (self.validation_split is None):
            raise ValueError("--patience and --validation-split go together; give both or neither")
        return self


class TuneCommand(TuningCommand):
    """Options of ``tune``."""

    select: Annotated[Selection, Typed("SELECTION")]
    """What is tuned: top-layers:K, bottom-layers:K, random-layers:K:SEED, layers:1,5,9, all, top-heads:K,
    bottom-heads:K or random-heads:K:SEED."""
    seed: Seed = 0
    """Seed of the adapter's first weights and of the order of rows."""


class CompareCommand(TuningCommand):
    """Options of ``compare``."""

    select: Annotated[tuple[Selection, ...], Several, Field(min_length=1), Once, Typed("SELECTION", is_repeatable=True)]
    """As of tune; repeatable. random-layers:K and random-heads:K without a seed are drawn anew for each seed."""
    seeds: Annotated[tuple[Seed, ...], Commas, Field(min_length=1), Once] = (0, 1, 2)
    """Seeds of the runs of each selection; comma-separated."""
    shard: Annotated[str, AfterValidator(_check_shard), Typed("I/N")] = "1/1"
    """Run every N-th cell, from the I-th on; the last to end reports."""


class ReportCommand(Options):
    """Options of ``report``."""

    panel: ClassVar[str | None] = None

    folders: Annotated[tuple[Path, ...], Several, Field(min_length=1), Typed("FOLDER...", is_argument=True)]
    """Results of one model, as score, knockout, ablate, sparsify, compare or tune wrote them."""
    out: Annotated[Path, Typed("PAGE.html")] = Path("report.html")
    """The page."""
