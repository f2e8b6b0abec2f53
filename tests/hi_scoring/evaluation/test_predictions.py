"""Predictions on a dataset: independent of batches, in the dataset's order, judged as by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from datasetkit.annotation.naming import KnownObjectNamer
from datasetkit.core.errors import ModelError
from datasetkit.core.record import ObjectStatus
from datasetkit.core.schema import record_to_row
from datasetkit.hi_scoring.comparison.cells import save_cell
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.evaluation.predictions import Evaluation, evaluate, judge
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.heads import WritingOptions
from tests.annotation.scenes import record
from tests.hi_scoring.images import sample
from tests.hi_scoring.scored import png
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tuned import COLOUR, SHAPE, asked_row, examples_of, fresh, rows_data

OPTIONS = WritingOptions(caption_tokens=5, answer_tokens=2)
COLUMNS = ["record_id", "task", "type", "prompt", "reference", "prediction", "is_right", "present", "absent"]


def scene(number: int, description: str | None, categories: str, *questions: dict[str, Any]) -> dict[str, Any]:
    """A row with one key object for each category."""
    made = record(None, categories)
    keys = tuple(replace(item, is_key=True, status=ObjectStatus.MENTIONED) for item in made.objects)
    return record_to_row(replace(made, objects=keys)) | {
        "record_id": f"scene-{number}",
        "image": {"bytes": png(sample(number, size_hw=(40 + 8 * number, 60)).image), "path": None},
        "description": description,
        "questions": [{"object_ids": [0], **question} for question in questions],
    }


@pytest.fixture(scope="module")
def examples() -> Examples:
    rows = [
        scene(0, "a red star and a blue ring", "red star, blue ring", COLOUR),
        scene(1, None, "red star", COLOUR, SHAPE),
        scene(2, "a green cross", "green cross"),
        scene(3, "nothing at all", "", SHAPE),
    ]
    return examples_of(rows_data(rows))


@pytest.fixture(scope="module")
def namer() -> KnownObjectNamer:
    return KnownObjectNamer(["red star", "blue ring", "green cross"])


def written(examples: Examples, batch: int, model: Any = None, done: list[int] | None = None) -> Evaluation:
    processor, model = tiny("llava").processor, model or tiny("llava").model
    told = (lambda _: None) if done is None else done.append
    return evaluate(model, Dialogue(processor, model.config), examples, None, OPTIONS, batch, told)


@pytest.fixture(scope="module")
def alone(examples: Examples) -> Evaluation:
    """The predictions for each example separately; read-only."""
    return written(examples, 1)


@pytest.mark.parametrize(("batch", "steps"), [(2, [2, 3, 5, 7]), (3, [3, 6, 7]), (32, [3, 7])])
def test_batches_equal_single_examples(examples: Examples, alone: Evaluation, batch: int, steps: list[int]) -> None:
    done: list[int] = []
    found = written(examples, batch, done=done)
    assert done == steps
    assert found.predictions.equals(alone.predictions)
    assert found.measured.sample_ids == alone.measured.sample_ids
    for name, rows in alone.measured.statistics.items():
        np.testing.assert_array_equal(found.measured.statistics[name], rows)


def values(table: pd.DataFrame, name: str) -> list[Any]:
    """A column, with None for what is missing."""
    return [None if value is None or value is np.nan else value for value in table[name].tolist()]


def test_table_keeps_the_datasets_order(examples: Examples, alone: Evaluation) -> None:
    table = alone.predictions
    assert list(table) == COLUMNS
    told = [(one.record_id, one.task, one.kind or None, one.prompt, one.response) for one in examples.items]
    assert list(zip(*(values(table, name) for name in COLUMNS[:5]), strict=True)) == told
    assert values(table, "task") == ["caption", "vqa", "vqa", "vqa", "caption", "caption", "vqa"]
    assert list(alone.measured.sample_ids) == [f"scene-{number}" for number in range(4)]


def test_generation_is_greedy_and_limited(examples: Examples, alone: Evaluation) -> None:
    """Compared with a loop that generates one token at a time."""
    model, processor = tiny("llava").model, tiny("llava").processor
    dialogue = Dialogue(processor, model.config)
    for example, said in zip(examples.items, alone.predictions["prediction"], strict=True):
        inputs = dialogue.encode([examples.image(example)], [dialogue.prompt(example.prompt)], None)
        most = OPTIONS.caption_tokens if example.task == "caption" else OPTIONS.answer_tokens
        start = inputs["input_ids"].shape[1]
        while inputs["input_ids"].shape[1] < start + most and inputs["input_ids"][0, -1] != 2:
            with torch.no_grad():
                token = model(**inputs).logits[:, -1:].argmax(-1)
            inputs["input_ids"] = torch.cat([inputs["input_ids"], token], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        tokens = inputs["input_ids"][0, start:]
        assert said == processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert alone.predictions["prediction"].str.len().max() > 0


def test_predictions_are_judged_as_by_hand(examples: Examples, namer: KnownObjectNamer) -> None:
    said = ["a red star and a green cross", "Red.", "blue", "", "a green cross", "", "yes it is"]
    found = judge(examples, said, namer)
    measured, table = found.measured, found.predictions
    assert {
        name: rows.tolist() for name, rows in measured.statistics.items() if name[:4] not in ("bleu", "roug", "cide")
    } == {
        # The green cross is not in the first image, and the last one has no objects that could be named.
        "key_precision": [[1, 2], [0, 0], [1, 1], [0, 0]],
        "key_recall": [[1, 2], [0, 0], [1, 1], [0, 0]],
        "hallucination": [[1, 1], [0, 0], [0, 1], [0, 0]],
        "accuracy": [[1, 1], [0, 2], [0, 0], [0, 1]],
        "accuracy:colour": [[1, 1], [0, 1], [0, 0], [0, 0]],
        "accuracy:existence": [[0, 0], [0, 1], [0, 0], [0, 1]],
    }
    assert measured.figure("accuracy") == 1 / 4
    assert measured.figure("key_recall") == 2 / 3
    assert [measured.n(name) for name in ("accuracy", "key_recall", "hallucination")] == [3, 2, 2]
    assert values(table, "is_right") == [None, True, False, False, None, None, False]
    assert values(table, "prediction") == said
    assert values(table, "present") == [["a red star"], None, None, None, ["a green cross"], None, None]
    assert values(table, "absent") == [["a green cross"], None, None, None, [], None, None]


def test_captions_are_compared_with_their_descriptions(examples: Examples) -> None:
    """Three of four rows have one: one repeated word for word, one with one of two words equal, one with none."""
    said = ["a red star and a blue ring", "", "", "", "a ring", "", ""]
    measured = judge(examples, said, None).measured
    assert measured.n("rouge_l") == 3
    # Longest common subsequence of "a ring" and "a green cross": 1 word. P = 1/2, R = 1/3, F of beta 1.2.
    f = (1 + 1.2**2) * (1 / 2) * (1 / 3) / (1 / 3 + 1.2**2 * (1 / 2))
    assert measured.statistics["rouge_l"].tolist() == [[1, 1], [0, 0], [pytest.approx(f), 1], [0, 1]]
    assert measured.statistics["bleu4"][:, :8].tolist() == [
        [7, 6, 5, 4, 7, 6, 5, 4],
        [0] * 8,
        [1, 0, 0, 0, 2, 1, 0, 0],
        [0] * 8,
    ]
    assert not {"key_recall", "key_precision", "hallucination"} & measured.statistics.keys()


@pytest.mark.parametrize(
    ("tasks", "metrics"),
    [
        (("caption",), {"bleu4", "rouge_l", "cider", "key_precision", "key_recall", "hallucination"}),
        (("vqa",), {"accuracy", "accuracy:colour", "accuracy:existence"}),
    ],
)
@pytest.mark.slow
def test_only_requested_tasks_are_measured(
    examples: Examples, namer: KnownObjectNamer, tasks: tuple[str, ...], metrics: set[str]
) -> None:
    some = examples_of(examples.data, tasks=tasks)
    measured = judge(some, [""] * len(some), namer).measured
    assert measured.statistics.keys() == metrics
    assert len(measured.sample_ids) == 3
    assert all(math.isfinite(measured.figure(name)) for name in metrics - {"key_precision"})


class Short:
    """A tiny model with memory for a limited number of samples and tokens."""

    def __init__(self, *, samples: int = 99, tokens: int = 9999) -> None:
        self.model, self.sizes = fresh(), list[int]()
        self._room = samples, tokens
        self.model.get_decoder().layers[2].register_forward_pre_hook(self._look)

    def _look(self, _: Any, inputs: Sequence[torch.Tensor]) -> None:
        samples, tokens = inputs[0].shape[:2]
        if tokens > 1:
            self.sizes.append(samples)
        if samples > self._room[0] or tokens > self._room[1]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_batch_that_does_not_fit_is_halved(examples: Examples, alone: Evaluation) -> None:
    short = Short(samples=2)
    found = written(examples, 4, short.model)
    assert short.sizes == [3, 1, 1, 1, 4, 2, 2]
    assert found.predictions.equals(alone.predictions)


def test_example_that_never_fits_ends_the_evaluation() -> None:
    rows = [asked_row(0, COLOUR), asked_row(1, COLOUR | {"question": "what colour is it ? " * 9}), asked_row(2, SHAPE)]
    some = examples_of(rows_data(rows), tasks=("vqa",))
    done: list[int] = []
    with pytest.raises(ModelError, match=r"not enough memory for sample-1 alone, prompt 'what colour is it .*dtype"):
        written(some, 1, Short(tokens=80).model, done)
    # The longest comes last.
    assert done == [1, 2]


def test_responses_to_one_image_are_one_sample(examples: Examples, namer: KnownObjectNamer) -> None:
    """Rows 0, 2 and 3 share an image: their statistics add up; figures over all samples stay."""
    said = ["a red star and a green cross", "Red.", "blue", "", "a green cross", "a ring", "yes"]
    apart = judge(examples, said, namer)
    shared = replace(examples, data=replace(examples.data, image_ids=["dogs", None, "dogs", "dogs"]))
    joined = judge(shared, said, namer)
    assert list(joined.measured.sample_ids) == ["dogs", "scene-1"] == list(shared.image_ids)
    assert joined.measured.statistics.keys() == apart.measured.statistics.keys()
    for name, rows in apart.measured.statistics.items():
        np.testing.assert_array_equal(joined.measured.statistics[name], [rows[[0, 2, 3]].sum(axis=0), rows[1]])
        assert joined.measured.figure(name) == pytest.approx(apart.measured.figure(name))
    assert joined.measured.statistics["accuracy"].tolist() == [[2, 2], [0, 2]]
    assert joined.predictions.equals(apart.predictions)


def test_checkpoint_sampling_settings_are_ignored(
    examples: Examples, alone: Evaluation, caplog: pytest.LogCaptureFixture
) -> None:
    model = copy.deepcopy(tiny("llava").model)
    model.generation_config.update(do_sample=True, temperature=0.1, top_p=0.5, num_beams=3, repetition_penalty=1.5)
    assert written(examples, 32, model).predictions.equals(alone.predictions)
    assert not caplog.records


@pytest.mark.parametrize("tasks", [("caption", "vqa"), ("caption",), ("vqa",)])
def test_column_types_survive_parquet(
    examples: Examples, namer: KnownObjectNamer, tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    some = examples_of(examples.data, tasks=tasks)
    found = judge(some, ["", *["a green cross"] * (len(some) - 1)], namer)
    save_cell(tmp_path, {}, {"test": found})
    table = pq.read_table(tmp_path / "predictions_test.parquet")
    text, texts = pa.string(), pa.list_(pa.string())
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == dict(
        zip(COLUMNS, [text] * 6 + [pa.bool_(), texts, texts], strict=True)
    )
    assert table.to_pydict() == {name: values(found.predictions, name) for name in COLUMNS}
