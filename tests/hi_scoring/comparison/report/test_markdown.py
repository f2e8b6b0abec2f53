"""A comparison as Markdown: the numbers of its tables, and tables that no name can break."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasetkit.hi_scoring.comparison.report.conclusions import conclusions
from datasetkit.hi_scoring.comparison.report.markdown import write_markdown
from datasetkit.hi_scoring.report.text import p_value, percent
from tests.hi_scoring.comparison.report.made import LAYERS, Made, made, make

_CELL = re.compile(r"(?<!\\)\|")


def written(folder: Path, one: Made) -> str:
    path = folder / "report.md"
    write_markdown(path, one.comparison, one.shifts, one.contrasts, one.description)
    return path.read_text("utf-8")


def rows_of(text: str) -> dict[str, list[str]]:
    """Rows of a part's tables by their first cell, the first row of each name."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("|"):
            name, *cells = (cell.strip() for cell in _CELL.split(line)[1:-1])
            rows.setdefault(name, cells)
    return rows


def parts_of(text: str) -> dict[str, str]:
    """The text under each heading."""
    return {part.partition("\n")[0]: part for part in text.split("\n## ")}


@pytest.mark.parametrize(
    ("seeds", "tests", "metrics"),
    [((0, 1), ("test", "forgetting"), ("cider", "accuracy")), ((0,), ("test",), ("accuracy",))],
)
def test_numbers_are_those_of_the_tables(
    tmp_path: Path, seeds: tuple[int, ...], tests: tuple[str, ...], metrics: tuple[str, ...]
) -> None:
    one = made(seeds=seeds, tests=tests, metrics=metrics)
    text = written(tmp_path, one)
    rows = rows_of(parts_of(text)["Figures and shifts: test"])
    for group in LAYERS:
        part = one.shifts[(one.shifts["test"] == "test") & (one.shifts["group"] == group)]
        assert rows[group][:3] == [str(len(seeds)), str(part["trainable"].iloc[0]), percent(part["share"].iloc[0])]
        for cell, row in zip(rows[group][3:], part.itertuples(), strict=True):
            spread = f" ± {row.spread:.3f}" if len(seeds) > 1 else ""
            assert cell == f"{row.figure:.3f}{spread} ({row.shift:+.3f}\\* \\[{row.low:.3f}, {row.high:.3f}\\])"
    assert rows["n"][3:] == ["40"] * len(metrics)
    contrasts = one.contrasts[one.contrasts["test"] == "test"].set_index(["metric", "second"])
    lines = parts_of(text)["Contrasts: top-layers:1 against others, test"].splitlines()
    found = [_CELL.split(line)[1:-1] for line in lines if line.startswith("| ")][2:]
    assert len(found) == len(contrasts)
    for (_, row), cells in zip(contrasts.iterrows(), found, strict=True):
        is_tested = np.isfinite(row["p_holm"])
        assert [cell.strip() for cell in cells[1:]] == [
            row.name[1],
            f"{row['difference']:+.3f}",
            f"{row['size']:+.3f}\\*" if is_tested else f"{row['size']:+.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            "&lt; 0.001",
            p_value(row["p_holm"]).replace("<", "&lt;"),
        ]
    assert f"- {conclusions(one.comparison, one.contrasts)[0].sentence}" in text.replace("\\", "")


def test_settings_to_reproduce_are_listed(tmp_path: Path) -> None:
    parts = parts_of(written(tmp_path, made(("top-layers:1", "random-layers:1", "top-heads:2"))))
    settings = rows_of(parts["Settings"])
    assert settings["training: learning rate"] == ["0.005"]
    assert settings["seeds"] == ["0, 1"]
    assert settings["data: sha256"] == ["cd" * 32]
    tuned = [line for line in parts["What was tuned"].splitlines() if line.startswith("| ")]
    assert tuned[2:] == [
        "| top-layers:1 | 0, 1 | 2 | all |",
        "| random-layers:1 | 0 | 0 | all |",
        "| random-layers:1 | 1 | 1 | all |",
        "| top-heads:2 | 0, 1 | 2-3 | layer 2: 1, 3-4; layer 3: 0 |",
    ]


def test_names_cannot_break_it(tmp_path: Path) -> None:
    hostile = "a|b\n# x <script>alert(1)</script> [y](http://z) `*_~$ &amp;"
    one = made(metrics=("accuracy",))
    told = one.told(model={"id": hostile, "revision": None, "sha256": None}, texts={"prompt": hostile})
    text = written(tmp_path, told)
    assert "<script>" not in text
    assert "[y]" not in text.replace("\\[", "")
    assert [line for line in text.splitlines() if line.startswith("# ")] == [text.splitlines()[0]]
    [cell] = rows_of(text)["texts: prompt"]
    assert cell == "a\\|b \\# x &lt;script&gt;alert(1)&lt;/script&gt; \\[y\\](http://z) \\`\\*\\_\\~\\$ &amp;amp;"


def test_what_is_not_defined_is_a_dash(tmp_path: Path) -> None:
    one = made()
    nothing = dict.fromkeys(("figure", "spread", "shift", "low", "high", "p", "p_holm"), np.nan)
    text = written(tmp_path, replace(one, shifts=one.shifts.assign(**nothing)))
    assert rows_of(text)["all"][3:] == ["-", "-"]
    assert "nan" not in text


def test_one_configuration_and_one_seed_suffice(tmp_path: Path) -> None:
    text = written(tmp_path, made(("layers:1,3",), seeds=(0,), tests=("test",), metrics=("cider",)))
    assert "## Contrasts" not in text
    assert "The claim was not tested" in text
    assert "seeds were not varied" in text


def test_equal_comparisons_are_equal_bytes(tmp_path: Path) -> None:
    assert written(tmp_path, made(metrics=("accuracy",))) == written(tmp_path, make(metrics=("accuracy",)))
