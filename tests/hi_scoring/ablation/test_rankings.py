"""Rankings by scores and by users' tables, and invalid tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.ablation.rankings import Ranking
from datasetkit.hi_scoring.model.subject import shape_of
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import HEADS, LAYERS

SHAPE = (2, 3)
MODEL = ModelIdentity("model", "mine", None, "a")


def scores_of(*scores: list[list[float]], model: ModelIdentity = MODEL) -> HeadScores:
    return HeadScores(
        {("ram", "last"): np.array(scores)},
        chances={},
        record_ids=[f"sample-{number}" for number in range(len(scores))],
        options=ScoreOptions(),
        model=model,
        dataset={"name": "rows"},
    )


def heads(ranking: Ranking, rule: str) -> list[tuple[int, int]]:
    found = ranking.selector.select(rule).heads
    assert found is not None
    return [tuple(head) for head in found]


def table(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_scores_rank_heads() -> None:
    ranking = Ranking.of_scores(scores_of([[1, 2, 3], [6, 5, 4]], [[1, 2, 9], [6, 5, 4]]), "ram:last", MODEL, SHAPE)
    assert ranking.name == "ram:last"
    assert heads(ranking, "top-heads:2") == [(0, 2), (1, 0)]
    assert heads(ranking, "bottom-heads:2") == [(0, 0), (0, 1)]
    assert ranking.source["by"] == "ram:last"
    assert ranking.source["data"] == {"name": "rows"}


def test_foreign_and_unknown_scores_are_refused() -> None:
    scores = scores_of([[1, 2, 3], [6, 5, 4]], model=ModelIdentity("model", "other", None, "b"))
    with pytest.raises(RecipeError, match=r"the scores belong to other \(b\), the model is mine \(a\)"):
        Ranking.of_scores(scores, "ram:last", MODEL, SHAPE)
    with pytest.raises(RecipeError, match=r"no score is called hi:last; known: ram:last"):
        Ranking.of_scores(scores_of([[1, 2, 3], [6, 5, 4]]), "hi:last", MODEL, SHAPE)


def test_table_ranks_heads_with_close_scores(tmp_path: Path) -> None:
    # In float32 the three of layer 0 would be equal, and keep their order.
    rows = "score,head,layer,note\n1.00000000001,0,0,a\n1.00000000002,1,0,b\n1.00000000003,2,0,c\n-5,2,1,d\n,1,1,e\n"
    path = table(tmp_path, rows)
    ranking = Ranking.of_table(path, MODEL, SHAPE)
    assert ranking.name == "table:mine.csv"
    assert heads(ranking, "top-heads:1") == [(0, 2)]
    assert heads(ranking, "top-heads:2") == [(0, 1), (0, 2)]
    assert heads(ranking, "bottom-heads:2") == [(0, 0), (1, 2)]
    with pytest.raises(RecipeError, match="4 have a score"):
        ranking.selector.select("top-heads:3")
    again = tmp_path / "mine.parquet"
    pd.read_csv(path).to_parquet(again)
    assert heads(Ranking.of_table(again, MODEL, SHAPE), "top-heads:2") == [(0, 1), (0, 2)]


def test_equal_table_scores_keep_head_order(tmp_path: Path) -> None:
    ranking = Ranking.of_table(table(tmp_path, "layer,head,score\n1,1,2\n0,2,2\n1,0,2\n0,0,1\n"), MODEL, SHAPE)
    assert heads(ranking, "top-heads:1") == [(0, 2)]
    assert heads(ranking, "bottom-heads:2") == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("mine.txt", "layer,head,score\n", "not a table that can be read; give a .csv or .parquet file"),
        ("mine.parquet", "layer,head,score\n", "cannot be read as a table"),
        ("mine.csv", "", "cannot be read as a table"),
        ("mine.csv", "layer,head,mean\n0,0,1\n", "columns layer, head, mean; a ranking needs layer, head, score"),
        ("mine.csv", "layer,head,score\n2,0,1\n", "column layer: give whole numbers from 0 to 1"),
        ("mine.csv", "layer,head,score\n0,-1,1\n", "column head: give whole numbers from 0 to 2"),
        ("mine.csv", "layer,head,score\n0.5,0,1\n", "column layer: give whole numbers"),
        ("mine.csv", "layer,head,score\n0,,1\n", "column head: give whole numbers"),
        ("mine.csv", "layer,head,score\n0,0,high\n", "column score: give numbers, not"),
        ("mine.csv", "layer,head,score\n0,1,1\n1,1,2\n0,1,3\n", "has layer 0, head 1 twice"),
    ],
)
def test_invalid_rankings_are_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Ranking.of_table(table(tmp_path, text, name), MODEL, SHAPE)
    assert told in str(caught.value)


def test_shape_is_that_of_the_text_decoder() -> None:
    assert shape_of(tiny("llava").model.config) == (LAYERS, HEADS)
    assert Head(LAYERS - 1, HEADS - 1) == (3, 3)
