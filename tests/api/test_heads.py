"""Attention heads in Python: names, loaded models, custom rows; results, records and errors."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from datasetkit.api.experiments import ablate, knockout, sparsify
from datasetkit.api.joining import report
from datasetkit.api.scoring import score
from datasetkit.api.tuning import compare, tune
from datasetkit.core.errors import ModelError, OutputError, RecipeError, SourceError
from datasetkit.core.results import Result
from tests.compatibility.former import FORMER
from tests.hi_scoring.scored import plain_row
from tests.hi_scoring.tiny_models import tiny

LAST: dict[str, Any] = {"positions": "last", "top": 1, "batch": 2}
ON_SCENES: dict[str, Any] = {"device": "cpu", "tasks": "vqa", "limit": 1}
RED = "what colour is the square ?"


def model() -> tuple[Any, Any]:
    return tiny("llava").model, tiny("llava").processor


def asked(number: int) -> dict[str, Any]:
    question = {"question": RED, "answer": "red", "options": ["red", "blue"], "type": "attribute", "object_ids": []}
    return plain_row(number) | {"questions": [question]}


@pytest.mark.usefixtures("undrawn")
def test_a_loaded_model_and_a_list_of_rows_are_scored(tmp_path: Path) -> None:
    done: list[tuple[str, int, int]] = []
    rows = [plain_row(number) for number in range(3)]
    found = score(model(), rows, str(tmp_path / "out"), on_progress=lambda *at: done.append(at), **LAST)
    assert found is not None
    assert repr(found) == f"<ScoreResult in {tmp_path / 'out'}: 4 layers of 4 heads, 3 samples>"
    assert done[-1] == ("scoring", 3, 3)
    assert (found.model.id, found.model.revision) == ("LlavaForConditionalGeneration", None)
    assert len(found.model.sha256 or "") == 64
    assert (found.dataset["name"], found.dataset["split"], found.dataset["rows"]) == ("list", "train", 3)
    assert found.values["hi", "last"].shape == (3, 4, 4)
    lines = [item for item in found.report() if isinstance(item, str)]
    assert lines[-2:] == [f"wrote {found.folder} (scores of 3 samples)", f"open {found.page} in a browser"]
    assert "heads by hi:last" in found._repr_html_()
    reported = json.loads(json.dumps(found.as_json()))
    assert (reported["samples"], reported["ranked_by"], len(reported["top"])) == (3, "hi:last", 1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("scores.*")}
    score(model(), rows, tmp_path / "out", **LAST)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.usefixtures("undrawn")
def test_rows_accept_images_as_paths_bytes_and_objects(tmp_path: Path) -> None:
    row = plain_row(0)
    image = row["image"]["bytes"]
    (tmp_path / "image.png").write_bytes(image)
    rows = [row | {"image": one} for one in (image, str(tmp_path / "image.png"), tmp_path / "image.png")]
    rows.append(row | {"image": datasets.Image().decode_example({"bytes": image, "path": None})})
    found = score(model(), rows, tmp_path / "list", **LAST)
    assert found is not None
    assert np.ptp(found.values["hi", "last"], axis=0).max() == 0
    masks = [np.asarray(mask).astype(int).tolist() for mask in row["masks"]]
    dataset = datasets.Dataset.from_dict(
        {"image": [{"bytes": image, "path": None}], "text": [row["text"]], "masks": [masks]}
    )
    of_dataset = score(model(), dataset.cast_column("image", datasets.Image()), tmp_path / "dataset", **LAST)
    assert of_dataset is not None
    np.testing.assert_array_equal(of_dataset.values["hi", "last"][0], found.values["hi", "last"][0])
    assert of_dataset.dataset["name"] == "Dataset"


@pytest.mark.usefixtures("undrawn")
def test_other_weights_and_other_rows_are_other_results(tmp_path: Path) -> None:
    rows, (one, processor) = [plain_row(0)], model()
    score((one, processor), rows, tmp_path / "out", **LAST)
    other = copy.deepcopy(one)
    with torch.no_grad():
        next(iter(other.parameters())).add_(1)
    with pytest.raises(OutputError, match=r"model.sha256 is "):
        score((other, processor), rows, tmp_path / "out", **LAST)
    with pytest.raises(OutputError, match=r"data.sha256 is "):
        score((one, processor), [plain_row(1)], tmp_path / "out", **LAST)


@pytest.mark.parametrize(
    ("options", "error", "reported"),
    [
        ({"positons": "last"}, RecipeError, "positons: there is no such option; known: batch, binarisation, by, "),
        ({"by": "hi"}, RecipeError, "by: give SCORE:POSITIONS"),
        ({"revision": "main"}, RecipeError, "revision: a model on this machine"),
        ({"data": 3}, SourceError, "rows are a int; give a name, a folder, a datasets.Dataset or a list"),
        ({"data": [{"image": b""}]}, SourceError, "list has no column description or caption or text"),
        ({"model": "toyworld"}, RecipeError, "model: toyworld is a preset; the shipped model is called toyworld:vlm"),
        ({"model": "train"}, ModelError, "LlavaForConditionalGeneration is in training mode"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, options: dict[str, Any], error: type[Exception], reported: str) -> None:
    given = {"model": model(), "data": [plain_row(0)], "out": tmp_path / "out"} | options
    if given["model"] == "train":
        given["model"] = (copy.deepcopy(model()[0]).train(), model()[1])
    with pytest.raises(error) as caught:
        score(**given)
    assert reported in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("data", "is_reported"), [(FORMER / "scenes", False), ([plain_row(0)], True)])
def test_toyworld_of_other_images_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: Any, is_reported: bool
) -> None:
    with caplog.at_level(logging.WARNING, "datasetkit"), pytest.raises(RecipeError, match=r"--by|by: "):
        score("toyworld:vlm", data, tmp_path / "out", by="hi:phrase" if is_reported else "hi:phrases")
    assert ("toyworld:vlm was trained on rendered scenes only" in caplog.text) is is_reported


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_every_experiment_returns_what_lies_in_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenes, scores = str(FORMER / "scenes"), FORMER / "scores"
    results: list[Result | None] = [
        knockout("toyworld:vlm", scenes, tmp_path / "blocked", device="cpu", limit=1, window=1, flows=["image->last"]),
        ablate(
            *("toyworld:vlm", scenes, tmp_path / "ablated"),
            **(ON_SCENES | {"scores": scores, "modes": ["zero"], "doses": [0.05], "draws": 2}),
        ),
        sparsify("toyworld:vlm", scenes, tmp_path / "sparse", **ON_SCENES, scores=scores, window=8, draws=1),
        compare(
            *("toyworld:vlm", scenes, tmp_path / "tuned"),
            **(ON_SCENES | {"limit": 4, "test_limit": 1, "scores": scores, "seeds": [0], "steps": 1, "batch": 2}),
            select=["top-layers:1", "bottom-layers:1"],
            targets=["q_proj"],
        ),
        report([tmp_path / name for name in ("blocked", "ablated", "sparse", "tuned")], out=tmp_path / "page.html"),
    ]
    for result, name in zip(results, ("blocked", "ablated", "sparse", "tuned", "page.html"), strict=True):
        assert result is not None
        assert f" in {tmp_path / name}: " in repr(result)
        lines = [item for item in result.report() if isinstance(item, str)]
        assert str(tmp_path / name) in " ".join(lines)
        assert json.loads(json.dumps(result.as_json()))
        assert result._repr_html_().startswith("<pre")
    assert "rows: 1 of split test of scenes" in caplog.text or not caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_loaded_model_is_tuned_as_a_copy_and_asked(tmp_path: Path) -> None:
    one, processor = model()
    before = {name: weight.clone() for name, weight in one.state_dict().items()}
    rows = [asked(number) for number in range(2)]
    options: dict[str, Any] = {"tasks": "vqa", "answer_tokens": 1}
    found = tune((one, processor), rows, tmp_path / "tuned", select="layers:1", steps=1, batch=2, rank=1, **options)
    assert found is not None
    assert list(found.groups) == ["layers:1"]
    assert (tmp_path / "tuned" / "cells" / "layers-1--seed-0" / "adapter" / "adapter.json").is_file()
    assert all(torch.equal(weight, before[name]) for name, weight in one.state_dict().items())
    blocked = knockout((one, processor), rows, tmp_path / "blocked", window=1, flows="image->last", only_correct=False)
    assert blocked.facts["counts"]["questions"] == 2
