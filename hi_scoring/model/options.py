"""Options of what models are asked, and of how much they may write. Owns their names, ranges and defaults."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from datasetkit.options.base import Options

Task = Literal["caption", "vqa"]

TASKS: tuple[Task, ...] = get_args(Task)


class TextOptions(Options):
    """What a model is asked, in tuning and in evaluation alike.

    Args:
        tasks: ``caption``: it is asked ``prompt`` and says the description; ``vqa``: it is asked a row's closed
            questions, and says their answers.
        prompt: that asks for a description.
        question_prompt: how a question is put; ``{question}`` stands for it, ``{options}`` for its options, joined.

    """

    tasks: tuple[Task, ...] = Field(default=TASKS, min_length=1)
    prompt: str = Field(default="Describe the picture.", min_length=1)
    question_prompt: str = "{question}"

    @field_validator("question_prompt")
    @classmethod
    def _has_question(cls, template: str) -> str:
        try:
            written = template.format(question="\0", options="")
        except (IndexError, KeyError, ValueError) as error:
            raise ValueError(f"no template of {{question}} and {{options}}: {error!r}") from error
        if "\0" not in written:
            raise ValueError("has no {question}")
        return template


class WritingOptions(Options):
    """How much a model may write where it is evaluated.

    Args:
        caption_tokens: of a description.
        answer_tokens: of an answer.

    """

    caption_tokens: int = Field(default=64, ge=1)
    answer_tokens: int = Field(default=8, ge=1)
