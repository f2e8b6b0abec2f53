"""Scores of a model on a dataset: accepted models, the positions of a row, and the attention of heads."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BlipConfig, BlipForConditionalGeneration

from datasetkit.core.errors import ModelError, OutputError
from datasetkit.hi_scoring.data.samples import sample_of
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.runs.drops import read_drops
from datasetkit.hi_scoring.scores.dataset_scores import looked_at, score_dataset
from datasetkit.hi_scoring.scores.report.page import write_page
from datasetkit.hi_scoring.scores.report.terminal import scores_tables
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.options.heads import SCORE_NAMES, ScoreOptions
from tests.hi_scoring.scored import TinySubject, UnusedSubject, data_of, plain_row, row, score
from tests.hi_scoring.tiny_models import tiny

pytestmark = pytest.mark.slow

ALL_POSITIONS = ("response", "phrase", "last", "generated")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny LLaVA as a folder; read-only."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny("llava").model.save_pretrained(folder)
    tiny("llava").processor.save_pretrained(folder)
    return folder


def test_saved_model_scores_like_the_original(saved: Path, tmp_path: Path) -> None:
    data, options = data_of([row(number) for number in range(3)]), ScoreOptions()
    loaded = score_dataset(Subject(str(saved), device="cpu"), data, options, tmp_path / "a", batch=4)
    assert loaded is not None
    assert (loaded.model.id, loaded.model.revision, len(loaded.model.sha256 or "")) == ("tiny", None, 64)
    kept = score(tmp_path / "b", data)
    for name, array in kept.values.items():
        assert np.array_equal(loaded.values[name], array, equal_nan=True), name


def test_another_dtype_is_another_run(saved: Path, tmp_path: Path) -> None:
    data, options = data_of([row(number) for number in range(2)]), ScoreOptions(positions=("last",))
    whole = score_dataset(Subject(str(saved), device="cpu"), data, options, tmp_path)
    half = Subject(str(saved), device="cpu", dtype="bfloat16")
    with pytest.raises(OutputError, match='dtype is "float32" there, "bfloat16" here'):
        score_dataset(half, data, options, tmp_path)
    rough = score_dataset(half, data, options, tmp_path, overwrite=True)
    assert whole is not None
    assert rough is not None
    assert half.model.dtype == torch.bfloat16
    difference = rough.values["image_mass", "last"] - whole.values["image_mass", "last"]
    assert 0 < np.abs(difference).mean() < 0.05


def test_unknown_family_is_refused_before_weights(tmp_path: Path) -> None:
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = BlipConfig(
        text_config={**vision, "vocab_size": 20, "encoder_hidden_size": 8},
        vision_config={**vision, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(
        ModelError, match=r"of type 'blip'; known: gemma3, .* To add a family, write a subclass"
    ) as caught:
        _ = Subject(str(tmp_path)).model
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded: .*model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be loaded: "),
        (lambda folder: (folder / "config.json").unlink(), "cannot be loaded: "),
        (lambda folder: (folder / "processor_config.json").unlink(), "cannot be loaded|lacks the processor of both"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
    ],
    ids=["no weights", "broken weights", "no configuration", "no processor", "no template"],
)
def test_incomplete_checkpoint_is_one_line(saved: Path, tmp_path: Path, spoil: Any, told: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelError, match=told) as caught:
        score_dataset(Subject(str(folder), device="cpu"), data_of([row(0)]), ScoreOptions(), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_every_position_has_every_score(tmp_path: Path) -> None:
    scores = score(tmp_path, data_of([row(number) for number in range(6)]), positions=ALL_POSITIONS, max_new_tokens=4)
    others = ["hi@mean", "hi@quantile", "hi@otsu"]
    assert set(scores.values) == {(name, place) for name in (*SCORE_NAMES, *others) for place in ALL_POSITIONS}
    for (name, _), array in scores.values.items():
        if name not in ("entropy", "hi_lift"):
            assert np.isfinite(array).all(), name
            assert ((array >= -1e-6) & (array <= 1 + 1e-6)).all(), name
    table = scores.table()
    assert len(table) == len(SCORE_NAMES) * 4 * 4 * 4
    assert ((table["low"] <= table["mean"] + 1e-9) & (table["mean"] <= table["high"] + 1e-9)).all()


def test_generated_text_is_scored_like_a_given_text(tmp_path: Path) -> None:
    """The scores of ``generated`` equal those of ``response`` for rows with the model's text as their text."""
    rows = [plain_row(number) for number in range(3)]
    own = score(tmp_path / "own", data_of(rows), positions=("generated",), max_new_tokens=5)
    family = tiny("llava")
    told = []
    for one in rows:
        dialogue = Dialogue(family.processor, family.model.config)
        inputs = dialogue.encode([sample_of(one, "r").image], [dialogue.prompt("Describe the picture.")], None)
        tokens = family.model.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        told.append({**one, "text": family.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()})
    assert all(one["text"] for one in told)
    given = score(tmp_path / "given", data_of(told), positions=("response",))
    for name in ("hi_soft", "ram", "image_mass"):
        np.testing.assert_allclose(own.values[name, "generated"], given.values[name, "response"], atol=1e-4)


def test_silent_model_has_no_generated_positions(tmp_path: Path) -> None:
    mute = copy.deepcopy(tiny("llava").model)
    mute.generate = lambda **inputs: torch.cat(  # type: ignore[method-assign]
        [inputs["input_ids"], torch.full((len(inputs["input_ids"]), 1), mute.config.text_config.eos_token_id)], 1
    )

    class Mute(TinySubject):
        model = mute  # type: ignore[assignment]

    rows = data_of([row(number) for number in range(2)])
    scores = score(tmp_path / "a", rows, Mute(), positions=("last", "generated"))
    assert np.isnan(scores.mean("hi", "generated")).all()
    with pytest.raises(OutputError, match="2 x no_tokens: no token of the text is at any of the scored positions"):
        score(tmp_path / "b", rows, Mute(), positions=("generated",))


@pytest.mark.parametrize("some_have_phrases", [False, True])
@pytest.mark.usefixtures("undrawn")
def test_rows_without_phrases_have_all_but_phrase_positions(tmp_path: Path, some_have_phrases: bool) -> None:
    rows = [plain_row(number) for number in range(5)] + [row(number) for number in range(5, 7)] * some_have_phrases
    scores = score(tmp_path, data_of(rows))
    counts = 2 if some_have_phrases else 0
    assert (scores.n("hi", "response") == len(rows)).all()
    assert (scores.n("hi", "phrase") == counts).all()
    assert np.isnan(scores.values["ram", "phrase"][:5]).all()
    loaded = HeadScores.load(tmp_path)
    assert loaded.top(3, "hi:response")
    assert bool(loaded.top(3, "hi:phrase")) == some_have_phrases
    phrases = loaded.table().query("positions == 'phrase' and score == 'hi'")
    assert phrases["mean"].isna().all() != some_have_phrases
    for by in ("hi:response", "ram:phrase"):
        tables = [table.row_count for table in scores_tables(loaded, by, 3)]
        assert tables[1] == 4
    write_page(tmp_path / "report.html", loaded, by="hi:response" if some_have_phrases else "ram:phrase", top=3)
    page = re.sub(r'"data:[^"]*"', "", (tmp_path / "report.html").read_text())
    assert ("positions “phrase”" in page) == some_have_phrases
    assert ("No row has anything at the positions phrase." in page) != some_have_phrases
    assert "nan" not in page


def test_rows_without_any_positions_are_dropped(tmp_path: Path) -> None:
    rows = [row(0), plain_row(1), row(2), plain_row(3), plain_row(4), plain_row(5), plain_row(6), plain_row(7)]
    scores = score(tmp_path, data_of(rows), positions=("phrase",))
    assert scores.record_ids == ("sample-0", "sample-2")
    assert [(drop.row, drop.reason) for drop in read_drops(tmp_path)] == [(n, "no_tokens") for n in (1, 3, 4, 5, 6, 7)]


def test_looked_at_attention_is_what_is_scored(tmp_path: Path) -> None:
    rows = [row(0, phrases=[]), row(1), row(2, description="a red </s> square"), row(3), row(4)]
    heads = [Head(2, 1), Head(0, 3)]
    looked = looked_at(TinySubject(), data_of(rows), ScoreOptions(), heads, 2)
    assert [one.sample.record_id for one in looked] == ["sample-1", "sample-3"]
    scores = score(tmp_path, data_of(rows))
    for one in looked:
        place = scores.record_ids.index(one.sample.record_id)
        for head in heads:
            assert one.attention[head].shape == (one.geometry.count,)
            mass = scores.values["image_mass", "response"][place, head.layer, head.head]
            assert one.attention[head].sum() == pytest.approx(mass, abs=1e-5)


def test_folder_notes_what_decides_the_values(tmp_path: Path) -> None:
    score(tmp_path, data_of([row(0)]), quantile=0.8)
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["model"] == {"id": "llava", "revision": None, "sha256": "a"}
    assert (told["dtype"], told["batch"], told["options"]["quantile"]) == ("float32", 4, 0.8)
    assert told["data"]["name"] == "rows"
    with pytest.raises(OutputError, match="batch is 4 there, 5 here"):
        score_dataset(UnusedSubject(), data_of([row(0)]), ScoreOptions(quantile=0.8), tmp_path, batch=5)
