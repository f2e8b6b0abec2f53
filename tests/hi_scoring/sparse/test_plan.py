"""Plans: the contents of their files, and refusals."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import LlamaConfig

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError, RecipeError
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.sparse import SparsePlan

IDENTITY = ModelIdentity("model", "someone/model", "abc", None)


def plan(**options: object) -> SparsePlan:
    return SparsePlan.keeping([Head(2, 1), Head(0, 3), Head(2, 0)], IDENTITY, (3, 4), **options)


def test_file_is_small_json_and_round_trips(tmp_path: Path) -> None:
    made = plan(sink=1, window=7, dense_above=0.25, chosen={"by": "ram:response"})
    made.save(tmp_path / "plan.json")
    told = json.loads((tmp_path / "plan.json").read_text())
    assert told.pop("made_by").startswith("datasetkit ")
    assert told == {
        "format": 1,
        "model": {"id": "someone/model", "revision": "abc", "sha256": None},
        "layers": 3,
        "heads": 4,
        "sink": 1,
        "window": 7,
        "dense_above": 0.25,
        "chosen": {"by": "ram:response"},
        "full_heads": {"0": [3], "2": [0, 1]},
    }
    assert SparsePlan.load(tmp_path / "plan.json") == made == SparsePlan.load(tmp_path)
    assert made.full_heads == ((3,), (), (0, 1))
    assert made.kept == (Head(0, 3), Head(2, 0), Head(2, 1))


def test_defaults() -> None:
    made = plan()
    assert (made.sink, made.window, made.dense_above, dict(made.chosen)) == (4, 128, 0.5, {})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sink": -1}, "sink -1"),
        ({"window": 0}, "window 0"),
        ({"dense_above": 0.0}, "dense_above is 0.0"),
        ({"dense_above": 1.5}, "dense_above is 1.5"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        plan(**options)


@pytest.mark.parametrize(
    ("heads", "told"),
    [
        ([Head(0, 4)], r"layer 0 keeps heads \(4,\); give each once, ascending, from 0 to 3"),
        ([Head(1, 2), Head(1, 2)], r"layer 1 keeps heads \(2, 2\)"),
        ([Head(3, 0)], "head 0 of layer 3 is to be kept; the model has layers 0 to 2"),
        ([Head(-1, 0)], "head 0 of layer -1"),
    ],
)
def test_missing_heads_are_refused(heads: list[Head], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        SparsePlan.keeping(heads, IDENTITY, (3, 4))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "holds plan of sparse prefill of format 2; this datasetkit reads format 1"),
        # The contents of later formats are not checked.
        ({"format": 2, "model": {"id": "m", "commit": "x"}}, "format 2; this datasetkit reads format 1"),
        ({"window": None}, "plan.json is damaged: window is null"),
        ({"window": 4.5}, "window is 4.5"),
        ({"heads": "4"}, 'heads is "4"'),
        ({"full_heads": {"9": [0]}}, "head 0 of layer 9"),
        ({"full_heads": [[0], []]}, r"full_heads is \[\[0\], \[\]\]"),
        ({"full_heads": {"0": 3}}, "full_heads.0 is 3: input should be a valid list"),
        ({"full_heads": {"0": ["3"]}}, 'full_heads.0.0 is "3"'),
        ({"full_heads": {"a": [3]}}, "full_heads.a"),
        ({"model": {"id": "x"}}, "model.revision is missing"),
        ({"model": "x"}, 'model is "x"'),
    ],
)
def test_invalid_plans_are_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "plan.json"
    plan().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BuiltFolderError, match=told):
        SparsePlan.load(path)


@pytest.mark.parametrize("told", ["{", "[]", "3", '{"window": 4}'])
def test_other_files_are_refused(tmp_path: Path, told: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(told)
    with pytest.raises(BuiltFolderError, match="not a plan of sparse prefill that can be read"):
        SparsePlan.load(path)


def model(commit: str | None) -> SimpleNamespace:
    """A model's configuration, as transformers loads it from the Hub or, without a commit, from a folder."""
    config = LlamaConfig(num_hidden_layers=3, num_attention_heads=4)
    config._commit_hash = commit
    config.name_or_path = "someone/other"
    return SimpleNamespace(config=config)


def test_another_commit_warns() -> None:
    told = "the plan is for someone/model at commit abc; this SimpleNamespace is someone/other at commit def"
    with pytest.warns(UserWarning, match=told):
        plan().check(model("def"))


@pytest.mark.parametrize(("planned", "commit"), [("abc", "abc"), ("abc", None), (None, "abc"), (None, None)])
@pytest.mark.filterwarnings("error")
def test_unknown_commit_is_accepted(planned: str | None, commit: str | None) -> None:
    identity = ModelIdentity("model", "someone/model", planned, None)
    SparsePlan.keeping([Head(0, 0)], identity, (3, 4)).check(model(commit))
