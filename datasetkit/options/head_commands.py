"""Options of the commands for attention heads, one flat class each. Owns defaults, and those without effect on results.

The options that a command records are a part of its class: ``command.part(ScoreOptions)``.
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

# Largest seed of numpy's generator.
_LAST_SEED = 2**32 - 1


def _as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, PathLike) else value


def _check_model(model: Any) -> Any:
    if model == "toyworld" and not Path(model).is_dir():
        raise ValueError("toyworld is a preset; the shipped model is called toyworld:vlm")
    return check_shipped(os.fspath(model)) if isinstance(model, str | PathLike) else model


def _check_shard(text: str) -> str:
    number, _, processes = text.partition("/")
    if not (number.isdecimal() and processes.isdecimal() and 1 <= int(number) <= int(processes)):
        raise ValueError("give I/N, such as 1/4, with I from 1 to N")
    return text


def _check_layer_score(text: str) -> str:
    if not re.fullmatch(r"mean|max|[1-9][0-9]*", text):
        raise ValueError("give mean, max, or a number of heads, at least 1")
    return text


Selection = Annotated[str, AfterValidator(check_selection)]
Seed = Annotated[int, Field(ge=0, le=_LAST_SEED)]
Rows = Annotated[Any, BeforeValidator(_as_text), Typed("FOLDER|USER/NAME[@REVISION]")]
Scores = Annotated[Path, Typed("FOLDER")]


class HeadsCommand(Options):
    """Options of every command that runs a model on rows.

    In Python, the model may also be a pair of loaded objects (model, processor), and the rows a ``datasets.Dataset`` or
    a list of dictionaries.
    """

    model: Annotated[str | tuple[Any, Any], BeforeValidator(_check_model), Typed("NAME")]
    """Image-text-to-text model: Hub id, local folder, or toyworld:vlm."""
    data: Rows
    """Rows with images, and texts or questions: a built folder, a dataset on the Hub, or rows with the same columns."""
    out: Path | None = None
    """Output folder for the results."""
    revision: str | None = None
    """Model revision on the Hub: commit, tag or branch.  [default: the newest]"""
    split: str | None = None
    """Split to evaluate on.  [default: test, or the only one]"""
    limit: int | None = Field(default=None, ge=1)
    """Use the first N rows only."""
    family: ClassName | None = None
    """Model family: a plug-in by name, or package.module:Class.  [default: follows from the model type]"""
    device: Device = "auto"
    """Device of the model: auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "float32"
    """Model dtype."""
    overwrite: bool = False
    """Replace other results in OUT."""

    @field_validator("revision")
    @classmethod
    def _of_what_has_some(cls, revision: str | None, info: ValidationInfo) -> str | None:
        model = info.data.get("model", "")
        if revision is not None and (not isinstance(model, str) or Path(resolve(model)).is_dir()):
            raise ValueError("a model on this machine has no revisions; leave this option out")
        return revision


class ScoreCommand(ScoreOptions, HeadsCommand):
    """Options of ``score``."""

    out: Path | None = None
    """Output folder for the results.  [default: scores/MODEL--DATA]"""
    split: str | None = None
    """Split to score on.  [default: train, or the only one]"""
    by: Annotated[str | None, Typed("SCORE:POSITIONS")] = None
    """Score and positions that rank heads and layers.  [default: hi at the first of --positions]"""
    top: int = Field(default=10, ge=1)
    """Number of top heads to list and draw."""
    batch: int = Field(default=8, ge=1)
    """Samples per forward pass; halved when memory runs out."""

    @field_validator("by")
    @classmethod
    def _is_scored(cls, by: str | None, info: ValidationInfo) -> str | None:
        scores = (*SCORE_NAMES, *map(score_name, info.data.get("scores", ())))
        score, _, position = (by or "").partition(":")
        positions = info.data.get("positions", (position,))
        if by is not None and (score not in scores or position not in positions):
            raise ValueError(
                f"give SCORE:POSITIONS, a score of {', '.join(scores)} and positions that are scored "
                f"({', '.join(positions)})"
            )
        return by

    @property
    def ranking(self) -> str:
        """Score and positions that rank heads, as SCORE:POSITIONS."""
        return self.by or f"hi:{self.positions[0]}"


class KnockoutCommand(KnockoutOptions, HeadsCommand):
    """Options of ``knockout``."""

    data: Annotated[Rows, Typed("FOLDER|USER/NAME[@REVISION]|TABLE")]
    """Rows with closed questions, or a .csv or .parquet file with the columns image, question and answer."""
    out: Path | None = None
    """Output folder for the results.  [default: knockouts/MODEL--DATA]"""
    question_prompt: QuestionPrompt = "{question}"
    """Prompt template for questions, with the fields {question} and {options}."""
    batch: int = Field(default=16, ge=1)
    """Blocked copies of a question per forward pass; halved when memory runs out."""


class AskCommand(TextOptions, WritingOptions, HeadsCommand):
    """Options of the commands that prompt a model for descriptions and answers."""


class AblateCommand(AblationOptions, AskCommand):
    """Options of ``ablate``."""

    out: Path | None = None
    """Output folder for the results.  [default: ablated/MODEL--DATA]"""
    batch: int = Field(default=32, ge=1)
    """Examples per forward pass; halved when memory runs out."""
    scores: Scores | None = None
    """Folder of head scores of the model, written by `datasetkit score`."""
    by: Annotated[tuple[str, ...], Several, Once, Typed("SCORE:POSITIONS", is_repeatable=True)] = ()
    """Score and positions that rank heads, such as ram:response or image_mass:last; repeatable.  [default:
    hi:response]"""
    table: Annotated[Path | None, Typed("FILE")] = None
    """Custom head ranking: a CSV or Parquet file with the columns layer, head and score."""

    @model_validator(mode="after")
    def _has_a_ranking(self) -> Self:
        if self.scores is None and (self.by or self.table is None):
            raise ValueError("heads need a ranking; give --scores or --table")
        return self

    @property
    def rankings(self) -> tuple[str, ...]:
        """Scores and positions that rank heads, each as SCORE:POSITIONS."""
        return () if self.scores is None else self.by or ("hi:response",)


class SparsifyCommand(SparsityOptions, AskCommand):
    """Options of ``sparsify``."""

    out: Path | None = None
    """Output folder for the results.  [default: sparse/MODEL--DATA]"""
    scores: Scores
    """Folder of head scores of the model, written by `datasetkit score`."""
    batch: int = Field(default=32, ge=1)
    """Examples per forward pass; halved when memory runs out."""
    kernel: Literal["blocks", "flex"] = "blocks"
    """Attention kernel of the sparse heads: blocks, or flex (CUDA only; compiles for seconds at each new size)."""
    draws: int = Field(default=5, ge=1)
    """Number of random sets of heads to compare with; fewer sets make their spread less certain."""


class TuningCommand(TrainingOptions, AdapterOptions, AskCommand):
    """Options shared by ``tune`` and ``compare``."""

    out: Path | None = None
    """Output folder for the results.  [default: tuned/MODEL--DATA]"""
    scores: Scores | None = None
    """Folder of head scores of the model, written by `datasetkit score`."""
    by: Annotated[str, Typed("SCORE:POSITIONS")] = "hi:response"
    """Score and positions that rank layers and heads."""
    layer_score: Annotated[str, BeforeValidator(str), AfterValidator(_check_layer_score)] = "mean"
    """Score of a layer: mean or max over its heads, or a number N for the mean of its N best."""
    split: str | None = None
    """Training split.  [default: train, or the only one]"""
    test: Rows | None = None
    """Test rows: a built folder, a dataset on the Hub, or rows with the same columns.  [default: --data]"""
    test_split: str | None = None
    """Test split.  [default: test, or the only one]"""
    forgetting: Rows | None = None
    """Further test rows that measure forgetting: a task that the model was good at before tuning."""
    forgetting_split: str | None = None
    """Split of the rows that measure forgetting.  [default: test, or the only one]"""
    test_limit: int | None = Field(default=None, ge=1)
    """Test on the first N rows only, for each set of test rows."""
    test_batch: int = Field(default=32, ge=1)
    """Test examples per forward pass; halved when memory runs out."""
    validation_split: str | None = None
    """Validation split, whose loss ends training early; needs --patience."""

    @model_validator(mode="after")
    def _patience_has_a_split(self) -> Self:
        if (self.patience is None) != (self.validation_split is None):
            raise ValueError("--patience and --validation-split go together; give both or neither")
        return self


class TuneCommand(TuningCommand):
    """Options of ``tune``."""

    select: Annotated[Selection, Typed("SELECTION")]
    """Layers or heads to tune: top-layers:K, bottom-layers:K, random-layers:K:SEED, layers:1,5,9, all, top-heads:K,
    bottom-heads:K or random-heads:K:SEED."""
    seed: Seed = 0
    """Random seed of the adapter's initial weights and of the order of rows."""


class CompareCommand(TuningCommand):
    """Options of ``compare``."""

    select: Annotated[tuple[Selection, ...], Several, Field(min_length=1), Once, Typed("SELECTION", is_repeatable=True)]
    """Layers or heads to tune in one configuration, written as for `datasetkit tune`; repeatable. random-layers:K and
    random-heads:K without a seed are drawn anew for each of --seeds."""
    seeds: Annotated[tuple[Seed, ...], Commas, Field(min_length=1), Once] = (0, 1, 2)
    """Random seeds, one run per selection and seed; comma-separated."""
    shard: Annotated[str, AfterValidator(_check_shard), Typed("I/N")] = "1/1"
    """Share of the runs for this process: every N-th, from the I-th on; the last process to finish writes the
    report."""


class ReportCommand(Options):
    """Options of ``report``."""

    panel: ClassVar[str | None] = None

    folders: Annotated[tuple[Path, ...], Several, Field(min_length=1), Typed("FOLDER...", is_argument=True)]
    """Result folders of one model, written by score, knockout, ablate, sparsify, compare or tune."""
    out: Annotated[Path, Typed("PAGE.html")] = Path("report.html")
    """HTML file to write."""
