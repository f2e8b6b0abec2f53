"""How heads are scored, blocked, ablated, spared and tuned. Owns what results record of it, and known names.

Only what decides a result is here; what else a command takes is in :mod:`datasetkit.options.head_commands`.
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
# A class of objects that are called as ``datasetkit.hi_scoring.scores.formulas.further.ViewScore`` says.
SCORES = Registry("score", {})


def score_name(plugin: str) -> str:
    """Return what results call the score of a plug-in: its name, or that of its class."""
    return plugin.rpartition(":")[2]


class ScoreOptions(Options):
    """How heads are scored. The abstracts of the papers leave each of these open; the defaults are ours."""

    positions: Annotated[tuple[Positions, ...], Commas, Field(min_length=1), Once] = ("response", "phrase", "last")
    """Tokens whose attention counts: of the given response, of the object's phrase, the last of the prompt, or those
    that the model itself generated; comma-separated."""
    convention: Literal["predicting", "at"] = "predicting"
    """Row of a token: predicting (the row before it, which produces it) or at (its own); the last token of the prompt
    is always its own row."""
    binarisation: Binarisation = "top_area"
    """How attention becomes a mask: as many tokens as the object has (top_area), those above the view's mean, above its
    quantile, or above Otsu's threshold."""
    quantile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Quantile of the binarisation of that name."""
    coverage_min: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of a token's area inside an object's mask from which the token is the object's; the best-covered token is
    taken where none reaches it."""
    evidence: Literal["binary", "coverage"] = "binary"
    """Evidence tokens of RAM: whole (binary), or weighted by the share that is covered (coverage)."""
    prompt: str = Field(default="Describe the picture.", min_length=1)
    """What the model is asked."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest text for the positions generated."""
    scores: Annotated[tuple[ClassName, ...], Commas, Once, Typed("NAME,...")] = ()
    """Further scores: plug-ins by name, or classes as package.module:Class; comma-separated."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of all scores in tables."""
        return (*SCORE_NAMES, *map(score_name, self.scores))

    @field_validator("scores")
    @classmethod
    def _have_names(cls, scores: tuple[str, ...]) -> tuple[str, ...]:
        names = each_once(tuple(map(score_name, scores)))
        for name in names:
            if name in SCORE_NAMES or name.endswith("_chance") or not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} cannot be the name of a further score; rename the class")
        return scores

    @serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what nobody asked for: results without plug-ins are those of versions that knew none."""
        return {name: value for name, value in handler(self).items() if name != "scores" or value}

    @classmethod
    def completed(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Options.completed`."""
        return {name: value for name, value in super().completed(found).items() if name != "scores" or value}


class TextOptions(Options):
    """What a model is asked, in tuning and in evaluation alike."""

    panel: ClassVar[str | None] = "Data"

    tasks: Annotated[tuple[Task, ...], Commas, Field(min_length=1)] = TASKS
    """What the model is asked for: caption (the description), vqa (answers to closed questions); comma-separated."""
    prompt: str = Field(default="Describe the picture.", min_length=1)
    """Prompt that asks for a description."""
    question_prompt: QuestionPrompt = "{question}"
    """Prompt that asks a question, of {question} and {options}."""


class WritingOptions(Options):
    """How much a model may write where it is evaluated."""

    panel: ClassVar[str | None] = "Data"

    caption_tokens: int = Field(default=64, ge=1)
    """Longest description, in tokens."""
    answer_tokens: int = Field(default=8, ge=1)
    """Longest answer, in tokens."""


class KnockoutOptions(Options):
    """What is blocked, and of which questions."""

    flows: Annotated[tuple[str, ...], Commas, Field(min_length=1), Typed("SOURCE->TARGET,...")] = FLOW_NAMES
    """Flows to block, each by itself, of the sets image, key object, image without key object, question, options and
    last; comma-separated, in quotes, since > is the shell's."""
    window: int = Field(default=9, ge=1)
    """Layers around each layer in which a flow is blocked."""
    heads: Annotated[tuple[tuple[int, int], ...] | None, BeforeValidator(read_heads), Typed("LAYER.HEAD,...")] = None
    """Heads whose edges are blocked.  [default: all]"""
    only_correct: Annotated[bool, Typed(flag="--only-correct/--all")] = True
    """Leave out questions that the model answers wrong."""
    answer_tokens: int = Field(default=8, ge=1)
    """Longest answer, in tokens."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random edges that each flow is compared with."""

    @field_validator("flows")
    @classmethod
    def _as_written(cls, flows: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(tuple(" -> ".join(read_flow(text)) for text in flows))


class AblationOptions(Options):
    """Which heads are taken out, and what replaces their outputs."""

    panel: ClassVar[str | None] = "Heads"

    modes: Annotated[tuple[Mode, ...], Commas, Field(min_length=1), Once] = MODES
    """Replacement of a head's output: zero; its mean over the rows that are asked, at image tokens apart from all
    others; or its output for another image of these rows (resample); comma-separated."""
    doses: Annotated[tuple[Annotated[float, Field(gt=0.0, le=0.5)], ...], Commas, Field(min_length=1)] = (
        *(0.01, 0.02, 0.05, 0.1, 0.2),
    )
    """Shares of all heads, each rounded up; comma-separated."""
    draws: int = Field(default=10, ge=2)
    """Random sets of heads for each dose, fewer where fewer differ; their spread is what top heads are compared with,
    and fewer than 5 say little of it."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random sets, and of the images of resample."""


class SparsityOptions(Options):
    """Which heads keep full attention, and what the others see."""

    panel: ClassVar[str | None] = "Heads"

    share: float = Field(default=0.05, gt=0.0, le=0.5)
    """Share of all heads that keep full attention, rounded up."""
    by: Annotated[str, Typed("SCORE:POSITIONS")] = "ram:response"
    """What heads are ranked by."""
    sink: Annotated[int, Field(ge=0)] = 4
    """First tokens that the other heads see from everywhere."""
    window: Annotated[int, Field(ge=1)] = 128
    """Tokens before each that they see, itself among them."""
    dense_above: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of a prompt's pairs of tokens that they may see before the prompt stays dense; 1 for never."""


class AdapterOptions(Options):
    """Which adapter is put on what was selected."""

    panel: ClassVar[str | None] = "Adapter"

    method: str = "LORA"
    """Any of peft's methods that adapt modules: LORA, LOHA, IA3 ..."""
    rank: int = Field(default=8, ge=1)
    """LoRA rank; for methods whose configuration has r."""
    alpha: int = Field(default=16, ge=1)
    """LoRA alpha: the update is scaled by alpha/rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout before the adapter."""
    targets: Annotated[tuple[str, ...], Commas, Field(min_length=1), Once] = PROJECTIONS
    """Projections of a layer's attention or MLP; comma-separated."""
    settings: Annotated[Settings, Typed("NAME=VALUE", is_repeatable=True, flag="--set")] = Field(default={})
    """Any field of peft's configuration of the method, as use_dora=true; repeatable."""

    @field_validator("method")
    @classmethod
    def _as_peft_writes_it(cls, method: str) -> str:
        return method.upper()


class TrainingOptions(Options):
    """How an adapter is trained."""

    panel: ClassVar[str | None] = "Training"

    steps: int = Field(default=500, ge=1)
    """Updates of the weights."""
    batch: int = Field(default=8, ge=1)
    """Examples in one forward pass of one process."""
    accumulate: int = Field(default=1, ge=1)
    """Forward passes before each update."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Learning rate schedule."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.03
    """Share of steps in which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """AdamW weight decay."""
    clip: Annotated[float, Field(gt=0.0)] = 1.0
    """Largest norm of the gradient."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Type of activations in training; no for the model's own."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints, to resume from."""
    patience: int | None = Field(default=None, ge=1)
    """Checkpoints without a lower validation loss before training ends, keeping the best; needs a validation split."""
