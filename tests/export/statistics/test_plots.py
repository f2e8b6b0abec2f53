"""Plots and the sheet of samples: present, of sensible size, reproducible, and correct as far as it can be checked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from datasetkit.core.drawing import object_colour
from datasetkit.core.schema import record_to_row
from datasetkit.export.card.samples import draw_sheet, sample_rows, write_samples
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.export.statistics.plots import count_labels, share_labels, write_plots
from tests.export.folders import bare_record, record, rows_of, write_folder


@pytest.mark.slow
def test_plots_are_written_and_leave_no_settings_behind(tmp_path: Path) -> None:
    manifest = write_folder(tmp_path, {"train": [rows_of([record(1), record(2)])]}, described=False)
    statistics = compute_statistics(tmp_path, manifest)
    before = dict(mpl.rcParams)
    paths = write_plots(statistics, tmp_path)
    assert [path.name for path in paths] == ["categories.png", "objects.png", "phrases.png"]
    assert dict(mpl.rcParams) == before
    first = [path.read_bytes() for path in paths]
    mpl.rcParams["font.size"] = 30
    try:
        assert [path.read_bytes() for path in write_plots(statistics, tmp_path)] == first
    finally:
        mpl.rcParams["font.size"] = before["font.size"]
    for path in paths:
        with Image.open(path) as image:
            assert 900 <= image.width <= 1400
            assert set(image.info) <= {"dpi"}


def test_long_odd_category_names_stay_inside_the_plot(tmp_path: Path) -> None:
    objects = tuple(replace(item, category="$x^2$ a very long category\nname " * 4) for item in record(1).objects)
    rows = rows_of([replace(record(1), objects=objects)])
    manifest = write_folder(tmp_path, {"train": [rows]}, described=False)
    path = write_plots(compute_statistics(tmp_path, manifest), tmp_path)[0]
    pixels = np.asarray(Image.open(path).convert("L"))
    edge = np.concatenate([pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel(), pixels[:, -4:].ravel()])
    assert edge.min() == 255


def test_nothing_to_show_makes_no_plot(tmp_path: Path) -> None:
    manifest = write_folder(tmp_path, {"train": [rows_of([bare_record(1)])]}, described=False)
    assert write_plots(compute_statistics(tmp_path, manifest), tmp_path) == ()


@pytest.mark.slow
def test_pyplot_stays_out() -> None:
    script = "import sys, datasetkit.export.card.describe; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_bin_labels() -> None:
    assert count_labels((0, 1, 2, 5, 10)) == ["0", "1", "2–4", "5–9", "10+"]  # noqa: RUF001 - as it is drawn
    assert share_labels((0, 0.001, 0.03, 0.3)) == ["< 0.1 %", "0.1–3 %", "3–30 %", "> 30 %"]  # noqa: RUF001


def test_samples_are_spread_and_prefer_key_objects(tmp_path: Path) -> None:
    items = [record(number) if number % 5 == 4 else bare_record(number) for number in range(40)]
    rows = rows_of(items)
    manifest = write_folder(tmp_path, {"train": [rows[:25], rows[25:35]], "test": [rows[35:]]}, described=False)
    chosen = list(sample_rows(tmp_path, manifest))
    assert len(chosen) == 8
    assert all(any(item["is_key"] for item in row["objects"]) for row in chosen)


def test_one_sample_has_an_ambiguous_phrase(tmp_path: Path) -> None:
    certain = [replace(record(number), phrases=record(number).phrases[:1]) for number in range(39)]
    rows = rows_of([*certain[:30], record(39), *certain[30:]])
    manifest = write_folder(tmp_path, {"train": [rows[:25], rows[25:]]}, described=False)
    chosen = list(sample_rows(tmp_path, manifest))
    assert len(chosen) == 8
    assert [row["description"] for row in chosen if any(p["status"] == "ambiguous" for p in row["phrases"])] == [
        record(39).description
    ]


def test_samples_are_read_from_their_shards_alone(tmp_path: Path) -> None:
    rows = rows_of([record(number) if number % 3 else bare_record(number) for number in range(40)])
    manifest = write_folder(
        tmp_path, {"train": [rows[place : place + 2] for place in range(0, 40, 2)]}, described=False
    )
    chosen = list(sample_rows(tmp_path, manifest))
    others = [shard for place, shard in enumerate(manifest.shards) if place not in {0, 2, 5, 7, 10, 12, 15, 17}]
    for shard in others:
        (tmp_path / shard.path).unlink()
    assert list(sample_rows(tmp_path, manifest)) == chosen
    assert len(others) == 12


def test_ambiguous_words_are_underlined_with_dashes() -> None:
    certain = replace(record(1), phrases=record(1).phrases[:1])
    dashed, plain = (np.asarray(draw_sheet([record_to_row(one)])) for one in (record(1), certain))
    rows, columns = np.nonzero((dashed != plain).any(axis=2))
    assert len(set(rows)) == 2, "a line, two pixels thick"
    runs = np.split(np.unique(columns), np.nonzero(np.diff(np.unique(columns)) > 1)[0] + 1)
    assert {len(run) for run in runs[:-1]} == {6}


def test_fewer_rows_than_samples(tmp_path: Path) -> None:
    manifest = write_folder(
        tmp_path, {"train": [rows_of([bare_record(1), record(2), bare_record(3)])]}, described=False
    )
    assert len(list(sample_rows(tmp_path, manifest))) == 3
    path = write_samples(tmp_path, manifest)
    assert path is not None
    with Image.open(path) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > sheet.height


def test_no_rows_make_no_sheet(tmp_path: Path) -> None:
    assert write_samples(tmp_path, write_folder(tmp_path, {}, described=False)) is None


def test_a_sheet_without_overlay_column_draws_it(tmp_path: Path) -> None:
    with_overlay, without = rows_of([record(1)])[0], record_to_row(record(1))
    one, other = (np.asarray(draw_sheet([row]), dtype=np.int16) for row in (with_overlay, without))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 3  # the overlay column went through JPEG


def test_words_have_the_light_colour_of_their_objects() -> None:
    pixels = np.asarray(draw_sheet([record_to_row(record(1))])).reshape(-1, 3)
    for object_id in (0, 1):
        light = [round(255 - 0.4 * (255 - value)) for value in object_colour(object_id)]
        assert (pixels == light).all(axis=1).sum() > 200
    assert not (pixels == [round(255 - 0.4 * (255 - value)) for value in object_colour(2)]).all(axis=1).any()


def test_long_descriptions_stay_in_their_cell() -> None:
    long = "Two cats" + " and a dog" * 200 + "x" * 5000
    rows = [
        record_to_row(replace(record(1), description=text, phrases=())) for text in (long, "y" * 5000, "שלום\n😀\tend")
    ]
    sheet = np.asarray(draw_sheet(rows).convert("L"))
    columns = [sheet[240:, start : start + 16] for start in (304, 608, 912)]
    assert [int(column.min()) for column in columns] == [255, 255, 255]
