"""Tables in the terminal: their contents and widths."""

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from datasetkit.hi_scoring.ablation.results import Ablations, ablation_tables

DOSES = (11, 21, 52, 103, 1205)
METRICS = ("cider", "key_recall", "hallucination", "accuracy", "answer_probability")


@pytest.fixture(scope="module")
def shown() -> list[str]:
    """Tables in a terminal of 80 columns; the shifts are -heads / 1000, about half of it, and none."""
    places = [
        {"ranking": ranking, "mode": "resample", "heads": heads, "metric": metric}
        for ranking in ("image_mass:response", "hi:phrase")
        for heads in DOSES
        for metric in METRICS
    ]
    shares = {"top": 1, "bottom": 0.499, "random": 0}
    curves = [
        place
        | {"rule": rule, "draw": draw, "shift": -place["heads"] / 1000 * share + (draw or 0)}
        | {"runs": 3 if place["heads"] == 11 and draw is None else 12, "shared": place["heads"] / 8}
        for place in places
        for rule, share in shares.items()
        for draw in ((None, 7) if rule == "random" else (None,))
    ]
    contrasts = pd.DataFrame(places).assign(worse=True)
    is_sure = (contrasts["heads"] > 50) & (contrasts["ranking"] == "hi:phrase")
    contrasts["p_holm"] = np.where(is_sure, 0.049, 0.05)
    facts = {"options": {"draws": 12}}
    found = Ablations(pd.DataFrame(curves).astype({"draw": "Int64"}), contrasts, facts)
    console = Console(width=80)
    with console.capture() as capture:
        for table in ablation_tables(found):
            console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_tables_fit_and_are_labelled(shown: list[str]) -> None:
    assert max(map(len, shown)) <= 80
    assert "resample ablation of heads by image_mass:response" in shown
    [counts, *_] = [line.split() for line in shown if "heads" in line and "11" in line]
    assert counts == ["metric", "heads", "11", "21", "52", "103", "1,205"]


def test_curves_pool_draws_and_mark_significant_doses(shown: list[str]) -> None:
    start = shown.index("resample ablation of heads by hi:phrase")
    part = [line for line in shown[start:] if line]
    [top] = [line.split("top ")[1].split() for line in part if "CIDEr" in line]
    assert top == ["-0.011", "-0.021", "-0.052*", "-0.103*", "-1.205*"]
    place = next(number for number, line in enumerate(part) if "CIDEr" in line)
    assert part[place + 1].split() == ["bottom", "-0.005", "-0.010", "-0.026", "-0.051", "-0.601"]
    assert part[place + 2].split() == ["random", *["0.000"] * 5]
    other = [line for line in shown[:start] if "CIDEr" in line]
    assert all("*" not in line for line in other)
    assert not any("Captions that name" in line for line in shown)


def test_curves_count_distinct_sets_and_shared_top_heads(shown: list[str]) -> None:
    [sets, _] = [line.split("random ")[1].split() for line in shown if "distinct sets of 12 " in line]
    assert sets == ["3", "12", "12", "12", "12"]
    [shared, _] = [line.split("random ")[1].split() for line in shown if "heads also in top " in line]
    assert shared == ["1.4", "2.6", "6.5", "12.9", "150.6"]


def test_report_ends_with_verdicts_and_their_metric(shown: list[str]) -> None:
    *_, first, second, caption = [line for line in shown if line]
    assert first.split() == ["image_mass:response", "cannot", "be", "told", "0", "0", "5"]
    assert second.split() == ["hi:phrase", "holds", "3", "0", "5"]
    assert caption == "judged by: Probability of the right answer"
