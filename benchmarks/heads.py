"""Heads of toyworld's language model that attend to what the text names, and the reliability of their ranking.

    python -m benchmarks.heads [--count 500] [--split test] [--out out/heads]

Heads are scored on scenes with exact masks and closed descriptions of them, teacher-forced. Tables are those of
``datasetkit score``, for the whole response and for the tokens that predict each phrase. Below them: whether HI and RAM
rank heads alike, and how the heads that one half of the scenes ranks highest do on the other half. The page
``OUT/scores/report.html`` has the maps, and the attention of the best heads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import spearmanr

from datasetkit.hi_scoring.data.datasets import open_data
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.dataset_scores import looked_at, score_dataset
from datasetkit.hi_scoring.scores.report.gallery import panel
from datasetkit.hi_scoring.scores.report.page import write_page
from datasetkit.hi_scoring.scores.report.terminal import scores_tables
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.statistics import nanmean, rank_stability, ranking
from datasetkit.options import Recipe
from datasetkit.options.heads import ScoreOptions
from datasetkit.pipeline.build import build
from tools.toyworld.models.vlm import DESCRIBE_PROMPT

TOP = 5
BY = ("hi:response", "hi:phrase", "ram:phrase")


def main() -> None:
    """Score, and print what the tables of one run do not show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=Path("out/heads"))
    arguments = parser.parse_args()
    dataset = arguments.out / "dataset"
    source = {"name": "toyworld", "count": arguments.count, "scene_split": arguments.split, "size_px": 128}
    build(Recipe.model_validate({"source": source, "overlay": False}), dataset, workers=2)
    subject, data = Subject("toyworld:vlm"), open_data(str(dataset))
    options = ScoreOptions(prompt=DESCRIBE_PROMPT)
    folder = arguments.out / "scores"
    scores = score_dataset(subject, data, options, folder)
    if scores is None:
        return
    console = Console(width=100)
    for by in BY:
        for table in scores_tables(scores, by, TOP):
            console.print(table)
    for positions in options.positions:
        print(agreement(scores, positions))
    for by in BY:
        print(transfer(scores, by))
    heads = scores.top(TOP, BY[1])
    panels = [panel(one, heads) for one in looked_at(subject, data, options, heads, 6)]
    write_page(folder / "report.html", scores, by=BY[1], top=10, panels=panels)
    print(f"wrote {folder / 'report.html'}")


def agreement(scores: HeadScores, positions: str) -> str:
    """Print the agreement of the rankings by HI and RAM."""
    hi, ram = scores.mean("hi", positions), scores.mean("ram", positions)
    alike = rank_stability(hi, ram, top=TOP)
    rho = spearmanr(hi.ravel(), ram.ravel()).statistic
    return (
        f"{positions}: HI and RAM over {hi.size} heads: Spearman {rho:.3f}, Kendall tau {alike.kendall_tau:.3f}, "
        f"Jaccard of the top {TOP} {alike.jaccard:.3f}"
    )


def transfer(scores: HeadScores, by: str) -> str:
    """Score the top heads of the first half of the scenes on the second half, compared with all heads."""
    score, _, positions = by.partition(":")
    values = scores.values[score, positions]
    half = len(values) // 2
    chosen = ranking(nanmean(values[:half]))[:TOP]
    second = nanmean(values[half:]).ravel()
    return (
        f"{by}: top {TOP} of the first half of the scenes score {second[chosen].mean():.3f} on the second; "
        f"the median head {np.median(second):.3f}, the highest {TOP} {np.sort(second)[-TOP:].mean():.3f}, "
        f"chance {nanmean(scores.chances[score, positions][half:]).ravel()[chosen].mean():.3f}"
    )


if __name__ == "__main__":
    main()
