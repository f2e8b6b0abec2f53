"""Head scores: tables, rankings, files."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasetkit import __version__
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError, RecordError, UnknownNameError
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.statistics import bootstrap_interval
from datasetkit.options.heads import ScoreOptions

NAN = math.nan
FILES = ["layers.parquet", "scores.json", "scores.parquet", "scores.safetensors"]


def _scores(values: dict[tuple[str, str], np.ndarray], **changes: object) -> HeadScores:
    given = {
        "chances": {},
        "record_ids": [f"r{number}" for number in range(len(next(iter(values.values()), ())))],
        "options": ScoreOptions(binarisation="otsu"),
        "model": ModelIdentity("model", "tiny", None, "0" * 64),
        "dataset": {"name": "toy", "digest": "ab", "split": "train"},
    }
    return HeadScores(values, **{**given, **changes})  # type: ignore[arg-type]


def _random_scores(order: tuple[str, ...] = ("ram", "hi", "hi@mean")) -> HeadScores:
    values = {}
    for score in ("hi", "hi@mean", "ram"):
        for positions in ("response", "last"):
            random = np.random.default_rng([len(score), len(positions)])
            array = random.random((6, 2, 3)).astype(np.float32)
            array[random.random(array.shape) < 0.2] = NAN
            values[score, positions] = array
    ordered = {name: values[name] for score in order for name in values if name[0] == score}
    return _scores(ordered, chances={("hi", "last"): np.full((6, 2, 3), 0.25)})


def _one_sample(heads: list[list[float]], score: str = "hi") -> HeadScores:
    return _scores({(score, "response"): np.array([heads])})


def test_mean_n_interval_and_chance_leave_undefined_samples_out() -> None:
    values = np.array([[[0.2, NAN]], [[0.4, NAN]], [[NAN, NAN]]])
    chances = np.array([[[0.1, 0.1]], [[0.3, 0.1]], [[0.8, 0.1]]])
    scores = _scores({("hi", "last"): values}, chances={("hi", "last"): chances})
    assert scores.shape == (1, 2)
    assert scores.mean("hi", "last").tolist() == [pytest.approx([0.3, NAN], nan_ok=True)]
    assert scores.n("hi", "last").tolist() == [[2, 0]]
    assert scores.chance("hi", "last").tolist() == [pytest.approx([0.2, NAN], nan_ok=True)]
    low, high = scores.interval("hi", "last")
    assert low.tolist() == [pytest.approx([0.2, NAN], nan_ok=True)]
    assert high.tolist() == [pytest.approx([0.4, NAN], nan_ok=True)]


def test_table_has_one_row_per_score_and_head() -> None:
    scores = _random_scores()
    table = scores.table()
    assert list(table.columns) == ["score", "positions", "layer", "head", "mean", "low", "high", "chance", "n"]
    assert len(table) == 2 * 2 * 2 * 3
    assert table[["score", "positions"]].drop_duplicates().to_numpy().tolist() == [
        ["hi", "last"],
        ["hi", "response"],
        ["ram", "last"],
        ["ram", "response"],
    ]
    row = table.set_index(["score", "positions", "layer", "head"]).loc["hi", "last", 1, 2]
    assert row["mean"] == scores.mean("hi", "last")[1, 2]
    assert row["low"] == scores.interval("hi", "last")[0][1, 2]
    assert row["high"] == scores.interval("hi", "last")[1][1, 2]
    assert row["n"] == scores.n("hi", "last")[1, 2]
    assert row["chance"] == 0.25
    assert row["low"] <= row["mean"] <= row["high"]
    assert table[table["score"] == "ram"]["chance"].isna().all()


def test_layers_table_reduces_by_mean_max_or_top_k() -> None:
    scores = _one_sample([[0.1, 0.2, 0.6], [NAN, 0.4, 0.2], [NAN, NAN, NAN]])
    for reduce, expected in {"mean": [0.3, 0.3, NAN], "max": [0.6, 0.4, NAN], 2: [0.4, 0.3, NAN]}.items():
        table = scores.layers_table(reduce)
        assert list(table.columns) == ["score", "positions", "layer", "mean", "low", "high", "chance", "n"]
        assert table["mean"].tolist() == pytest.approx(expected, nan_ok=True), reduce
        assert table["low"].isna().all(), reduce
        assert table["n"].tolist() == [1, 1, 0]


def test_layer_interval_is_that_of_the_layers_score() -> None:
    scores = _random_scores()
    table = scores.layers_table("max")
    samples = scores.values["ram", "last"]  # noqa: PD011 - no data frame
    low, high = bootstrap_interval(samples, reduce=lambda means: np.nanmax(means, axis=-1))
    rows = table[(table["score"] == "ram") & (table["positions"] == "last")]
    assert rows["low"].tolist() == low.tolist()
    assert rows["high"].tolist() == high.tolist()


def test_top_and_bottom_leave_nan_out_and_keep_ties() -> None:
    scores = _one_sample([[0.5, NAN, 0.9], [0.5, 0.1, 0.5]])
    assert scores.top(3) == [Head(0, 2), Head(0, 0), Head(1, 0)]
    assert scores.bottom(3) == [Head(1, 1), Head(0, 0), Head(1, 0)]
    assert len(scores.top(99)) == len(scores.bottom(99)) == 5
    assert scores.top(1, by="hi:response") == [Head(layer=0, head=2)]


def test_layers_are_ranked_by_their_score() -> None:
    scores = _one_sample([[0.0, 0.9], [0.5, 0.5], [NAN, NAN], [0.5, 0.5]])
    assert scores.layers(2) == [1, 3]
    assert scores.layers(9) == [1, 3, 0]
    assert scores.layers(1, reduce="max") == [0]
    assert scores.layers(1, reduce=1) == [0]


@pytest.mark.parametrize(
    ("layers", "heads", "share", "count"), [(4, 4, 0.05, 1), (5, 20, 0.05, 5), (32, 32, 0.05, 52), (10, 10, 0.07, 7)]
)
def test_core_heads_round_their_share_up(layers: int, heads: int, share: float, count: int) -> None:
    ram = np.arange(layers * heads, dtype=float).reshape(layers, heads)
    found = _one_sample(ram.tolist(), "ram").core_heads(share)
    assert found == [Head(*divmod(place, heads)) for place in range(layers * heads - 1, layers * heads - 1 - count, -1)]


def test_unknown_names_list_known_ones() -> None:
    scores = _random_scores()
    for by in ("entropy:last", "hi", "hi:phrase", ""):
        with pytest.raises(UnknownNameError, match="known: hi:last, hi:response, ram:last") as caught:
            scores.top(1, by=by)
        assert "no score is called" in str(caught.value)
    with pytest.raises(UnknownNameError, match="'median'; known: mean, max"):
        scores.layers_table("median")
    with pytest.raises(UnknownNameError, match="no score is called hi:phrase"):
        scores.mean("hi", "phrase")


def test_counts_and_shares_out_of_range_are_refused() -> None:
    scores = _random_scores()
    for ask in (scores.top, scores.bottom, scores.layers):
        with pytest.raises(RecordError, match="0 heads or layers"):
            ask(0)
    for share in (0.0, 1.5):
        with pytest.raises(RecordError, match=f"share of CoRe heads is {share}"):
            scores.core_heads(share)


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        ({("hi", "last"): np.zeros((2, 3))}, {}, r"hi:last has shape \(2, 3\)"),
        ({("hi", "last"): np.zeros((2, 3, 4)), ("ram", "last"): np.zeros((2, 4, 3))}, {}, "ram:last has shape"),
        ({("hi", "last"): np.zeros((2, 3, 4))}, {"record_ids": ["a"]}, "1 records"),
        (
            {("hi", "last"): np.zeros((2, 3, 4))},
            {"chances": {("ram", "last"): np.zeros((2, 3, 4))}},
            "chance levels of ram:last have no scores",
        ),
        ({}, {"record_ids": []}, "head scores are empty"),
    ],
)
def test_inconsistent_scores_are_refused(
    values: dict[tuple[str, str], np.ndarray], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        _scores(values, **{"record_ids": ["a", "b"], **changes})


def test_saved_scores_round_trip(tmp_path: Path) -> None:
    scores = _random_scores()
    scores.save(tmp_path / "new" / "folder")
    found = HeadScores.load(str(tmp_path / "new" / "folder"))
    assert list(found.values) == list(scores.values)
    assert list(found.chances) == [("hi", "last")]
    for name, array in scores.values.items():  # noqa: PD011 - no data frame
        assert array.dtype == np.float32
        np.testing.assert_array_equal(found.values[name], array)  # noqa: PD011 - no data frame
    np.testing.assert_array_equal(found.chances["hi", "last"], scores.chances["hi", "last"])
    assert found.record_ids == scores.record_ids
    assert (found.options, found.model, found.dataset) == (scores.options, scores.model, scores.dataset)
    assert found.version == __version__
    pd.testing.assert_frame_equal(found.table(), scores.table())


def test_saved_tables_equal_the_scores(tmp_path: Path) -> None:
    scores = _random_scores()
    scores.save(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), scores.table(), check_dtype=False)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "layers.parquet"), scores.layers_table(), check_dtype=False
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_equal_scores_give_equal_files_in_any_order(tmp_path: Path) -> None:
    _random_scores().save(tmp_path / "one")
    _random_scores(("hi@mean", "hi", "ram")).save(tmp_path / "two")
    HeadScores.load(tmp_path / "one").save(tmp_path / "three")
    for name in FILES:
        first = (tmp_path / "one" / name).read_bytes()
        assert first == (tmp_path / "two" / name).read_bytes() == (tmp_path / "three" / name).read_bytes(), name


def test_saving_again_replaces_files(tmp_path: Path) -> None:
    _random_scores().save(tmp_path)
    _one_sample([[0.5]]).save(tmp_path)
    assert HeadScores.load(tmp_path).shape == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_interrupted_save_is_not_finished(tmp_path: Path) -> None:
    _random_scores().save(tmp_path)
    (tmp_path / "scores.safetensors").unlink()
    (tmp_path / "scores.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):
        _random_scores().save(tmp_path)
    with pytest.raises(BuiltFolderError, match=r"no finished head scores: scores\.json is missing"):
        HeadScores.load(tmp_path)


def _remove(name: str) -> object:
    return lambda folder: (folder / name).unlink()


def _remove_half(folder: Path) -> None:
    """Replace the scores by others that do not match the facts."""
    other = folder / "other"
    _scores({("hi", "response"): np.zeros((1, 1, 1))}).save(other)
    (other / "scores.safetensors").replace(folder / "scores.safetensors")


def _edit(**changes: object) -> object:
    def edit(folder: Path) -> None:
        facts = json.loads((folder / "scores.json").read_text())
        (folder / "scores.json").write_text(json.dumps({**facts, **changes}))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove("scores.json"), "scores.json is missing"),
        (_remove("scores.safetensors"), "scores.safetensors is missing"),
        (lambda folder: (folder / "scores.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "scores.json").write_text("[]"), "format null"),
        (_edit(format=2), "format 2; this datasetkit reads format 1"),
        (lambda folder: (folder / "scores.safetensors").write_bytes(b"x"), "cannot be read"),
        (_remove_half, "is not the one that scores.json names"),
        (_edit(options={"binarization": "mean"}), "binarization"),
        (_edit(model={"name": "x"}), "model.id is missing"),
        (_edit(record_ids=["a"]), "1 records"),
        (_edit(layers="2"), 'layers is "2": input should be a valid integer'),
        (_edit(layers=7), "describes scores of another shape"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path: Path, damage: object, message: str) -> None:
    _random_scores().save(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(BuiltFolderError, match=message):
        HeadScores.load(tmp_path)


def test_environment_of_scores_is_kept(tmp_path: Path) -> None:
    values = {("hi", "response"): np.zeros((1, 1, 1))}
    _scores(values, environment={"dtype": "bfloat16", "batch": 4, "torch": "2.9"}).save(tmp_path)
    assert HeadScores.load(tmp_path).environment == {"dtype": "bfloat16", "batch": 4, "torch": "2.9"}
