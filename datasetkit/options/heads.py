"""Options of scoring, knockout, ablation, sparse attention and tuning. Owns what results record, and known names.

Only options that affect a result are here; the others of a command are in :mod:`datasetkit.options.head_commands`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, field_validator
from pydantic import model_serializer as serializer

from datasetkit.options.base import ClassName, Commas, Options, Settings, Typed
from datasetkit.options.head_forms import FLOW_NAMES, Once, QuestionPrompt, each_once, read_flow, read_heads
from datasetkit.runtime.registry import Builtin, Registry

Positions = Literal["response", "phrase", "last", "generated"]
Binarisation = Literal["top_area", "mean", "quantile", "otsu"]
Task = Literal["caption", "vqa"]
Mode = Literal["zero", "mean", "resample"]
BINARISATIONS: tuple[Binarisation, ...] = get_args(Binarisation)
TASKS: tuple[Task, ...] = get_args(Task)
MODES: tuple[Mode, ...] = get_args(Mode)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
SCORE_NAMES = ("hi", "hi_soft", "hi_lift", "ram", "ram_relative", "image_mass", "entropy", "pointing")

# A subclass of ``datasetkit.hi_scoring.families.base.Family``, by ``config.model_type`` of its models.
FAMILIES = Registry(
    "family",
    {
        name: Builtin(f"datasetkit.hi_scoring.families.{path}")
        for name, path in {
            "llava": "llava:Llava",
            "llava_next": "llava_next:LlavaNext",
            "llava_onevision": "llava_onevision:LlavaOnevision",
            "qwen2_vl": "qwen_vl:QwenVl",
            "qwen2_5_vl": "qwen_vl:QwenVl",
            "qwen3_vl": "qwen_vl:QwenVl",
            "idefics3": "idefics3:Idefics3",
            "smolvlm": "idefics3:SmolVlm",
            "paligemma": "paligemma:PaliGemma",
            "gemma3": "gemma3:Gemma3",
            "internvl": "internvl:InternVl",
        }.items()
    },
)
# Classes whose objects have the signature of ``datasetkit.hi_scoring.scores.formulas.further.ViewScore``.
SCORES = Registry("score", {})


def score_name(plugin: str) -> str:
    """Return the name of a plug-in's score in results: that of the plug-in, or of its class."""
    return plugin.rpartition(":")[2]


class ScoreOptions(Options):
    """How heads are scored. The abstracts of the papers leave all of this open; the defaults are our choice."""

    positions: Annotated[tuple[Positions, ...], Commas, Field(min_length=1), Once] = ("response", "phrase", "last")
    """Token positions whose attention is scored: response (all tokens of the given description), phrase (those of the
    object's phrase), last (the last token of the prompt), generated (tokens that the model generated); comma-separated.
    """
    convention: Literal["predicting", "at"] = "predicting"
    """Attention row that counts for a token: predicting (the row of the token before it, which produces it) or at (the
    row of the token itself); the last token of the prompt always uses its own row."""
    binarisation: Binarisation = "top_area"
    """Rule that turns attention into a mask: as many tokens as the object has (top_area), or the tokens above the mean,
    the quantile, or Otsu's threshold of each image view."""
    quantile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Threshold of --binarisation quantile."""
    coverage_min: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Smallest share of an image token's area inside an object's mask for the token to belong to the object; if no
    token reaches it, the best-covered one does."""
    evidence: Literal["binary", "coverage"] = "binary"
    """Weight of the evidence tokens of RAM: 1 (binary), or the covered share of the token (coverage)."""
    prompt: str = Field(default="Describe the picture.", min_length=1)
    """Prompt that asks for a description."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest generated text, in tokens; for --positions generated."""
    scores: Annotated[tuple[ClassName, ...], Commas, Once, Typed("NAME,...")] = ()
    """Additional scores: plug-ins by name, or classes as package.module:Class; comma-separated."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of all scores in result tables."""
        return (*SCORE_NAMES, *map(score_name, self.scores))

    @field_validator("scores")
    @classmethod
    def _have_names(cls, scores: tuple[str, ...]) -> tuple[str, ...]:
        names = each_once(tuple(map(score_name, scores)))
        for name in names:
            if name in SCORE_NAMES or name.endswith("_chance") or not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} cannot be the name of an additional score; rename the class")
        return scores

    @serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an empty list of additional scores, so that results match those of versions without plug-ins."""
        return {name: value for name, value in handler(self).items() if name != "scores" or value}

    @classmethod
    def completed(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Options.completed`."""
        return {name: value for name, value in super().completed(found).items() if name != "scores" or value}


class TextOptions(Options):
    """Prompts for tuning and evaluation alike."""

    panel: ClassVar[str | None] = "Data"

    tasks: Annotated[tuple[Task, ...], Commas, Field(min_length=1)] = TASKS
    """Tasks of the model: caption (write the description), vqa (answer closed questions); comma-separated."""
    prompt: str = Field(default="Describe the picture.", min_length=1)
    """Prompt that asks for a description."""
    question_prompt: QuestionPrompt = "{question}"
    """Prompt template for questions, with the fields {question} and {options}."""


class WritingOptions(Options):
    """Output lengths in evaluation."""

    panel: ClassVar[str | None] = "Data"

    caption_tokens: int = Field(default=64, ge=1)
    """Longest description, in tokens."""
    answer_tokens: int = Field(default=8, ge=1)
    """Longest answer, in tokens."""


class KnockoutOptions(Options):
    """What to block, and for which questions."""

    flows: Annotated[tuple[str, ...], Commas, Field(min_length=1), Typed("SOURCE->TARGET,...")] = FLOW_NAMES
    """Attention flows to block, one at a time, between the token sets image, key object, image without key object,
    question, options and last; comma-separated, in quotes, because the shell reads >."""
    window: int = Field(default=9, ge=1)
    """Number of consecutive layers, around each layer, in which a flow is blocked at once."""
    heads: Annotated[tuple[tuple[int, int], ...] | None, BeforeValidator(read_heads), Typed("LAYER.HEAD,...")] = None
    """Heads in which attention is blocked.  [default: all]"""
    only_correct: Annotated[bool, Typed(flag="--only-correct/--all")] = True
    """Leave out questions that the model answers incorrectly."""
    answer_tokens: int = Field(default=8, ge=1)
    """Longest answer, in tokens."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the edges that each flow is compared with."""

    @field_validator("flows")
    @classmethod
    def _as_written(cls, flows: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(tuple(" -> ".join(read_flow(text)) for text in flows))


class AblationOptions(Options):
    """Which heads to ablate, and what replaces their outputs."""

    panel: ClassVar[str | None] = "Heads"

    modes: Annotated[tuple[Mode, ...], Commas, Field(min_length=1), Once] = MODES
    """Replacement of a head's output: zero; mean (over all evaluated rows, separately for image and other tokens); or
    resample (the head's output for another image of these rows); comma-separated."""
    doses: Annotated[tuple[Annotated[float, Field(gt=0.0, le=0.5)], ...], Commas, Field(min_length=1)] = (
        *(0.01, 0.02, 0.05, 0.1, 0.2),
    )
    """Shares of all heads to ablate, each rounded up; comma-separated."""
    draws: int = Field(default=10, ge=2)
    """Number of random sets of heads per dose (fewer if fewer distinct sets exist). Top heads are compared with the
    spread of these sets, which fewer than 5 estimate poorly."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the sets of heads, and of the images of --modes resample."""


class SparsityOptions(Options):
    """Which heads keep full attention, and what the others attend to."""

    panel: ClassVar[str | None] = "Heads"

    share: float = Field(default=0.05, gt=0.0, le=0.5)
    """Share of all heads that keep full attention, rounded up."""
    by: Annotated[str, Typed("SCORE:POSITIONS")] = "ram:response"
    """Score and positions that rank heads."""
    sink: Annotated[int, Field(ge=0)] = 4
    """Number of first tokens that every token attends to in sparse heads (attention sinks)."""
    window: Annotated[int, Field(ge=1)] = 128
    """Number of latest tokens that each token attends to in sparse heads, itself included."""
    dense_above: float = Field(default=0.5, gt=0.0, le=1.0)
    """Largest share of token pairs that sparse heads may keep; prompts above it stay dense, and with 1 none does."""


class AdapterOptions(Options):
    """The adapter of the selected layers or heads."""

    panel: ClassVar[str | None] = "Adapter"

    method: str = "LORA"
    """peft method that adapts modules: LORA, LOHA, IA3 ..."""
    rank: int = Field(default=8, ge=1)
    """LoRA rank; applies to every peft method with the option r."""
    alpha: int = Field(default=16, ge=1)
    """LoRA alpha: the update is scaled by alpha/rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Adapter dropout probability."""
    targets: Annotated[tuple[str, ...], Commas, Field(min_length=1), Once] = PROJECTIONS
    """Projections to adapt in a layer's attention or MLP; comma-separated."""
    settings: Annotated[Settings, Typed("NAME=VALUE", is_repeatable=True, flag="--set")] = Field(default={})
    """Set any field of the peft configuration, such as use_dora=true; repeatable."""

    @field_validator("method")
    @classmethod
    def _as_peft_writes_it(cls, method: str) -> str:
        return method.upper()


class TrainingOptions(Options):
    """Adapter training."""

    panel: ClassVar[str | None] = "Training"

    steps: int = Field(default=500, ge=1)
    """Number of optimizer steps."""
    batch: int = Field(default=8, ge=1)
    """Training examples per forward pass and process."""
    accumulate: int = Field(default=1, ge=1)
    """Gradient accumulation: forward passes per optimizer step."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Learning rate schedule."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.03
    """Share of steps for learning rate warm-up from 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """AdamW weight decay."""
    clip: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradient clipping: largest norm."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Dtype of activations in training; no keeps the model dtype."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of keeping them: less memory, more time."""
    save_every: int = Field(default=100, ge=1)
    """Number of steps between checkpoints, from which training resumes."""
    patience: int | None = Field(default=None, ge=1)
    """Early stopping: number of checkpoints without a lower validation loss before training ends, keeping the best;
    needs --validation-split."""
