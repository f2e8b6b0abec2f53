"""The sheet of sample records for cards. Owns the choice of records, and the marks in their descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from datasetkit.core.drawing import draw_overlay, encode_jpeg, object_colour
from datasetkit.core.files import replace_file
from datasetkit.core.image import published_pixels
from datasetkit.core.paths import Place
from datasetkit.core.record import PhraseStatus
from datasetkit.core.schema import row_to_record
from datasetkit.export.dataset.manifest import ASSETS_FOLDER, Manifest
from datasetkit.export.dataset.reading import naming_row, open_shard, read_row_group

SAMPLES_NAME = "samples.jpg"
_COUNT, _GRID_COLUMNS = 8, 4
_IMAGE_WH, _GAP_PX = (288, 216), 16
_FONT_PX, _LINE_PX, _LINES = 17, 24, 4
_LINE_CHARACTERS = 100  # more never fit, and measuring a word of thousands of characters is slow
_TINT = 0.4
_INK = (40, 40, 40)
_TEXT_COLUMNS = ["description", "phrases", "objects.list.element.id", "objects.list.element.is_key"]
_FLAG_COLUMNS = ["objects.list.element.is_key", "phrases.list.element.status"]
_Row = Mapping[str, Any]
FindShard = Callable[[str], Place]


def write_samples(folder: Path, manifest: Manifest, find_shard: FindShard | None = None) -> Path | None:
    """Draw up to eight records, spread over the dataset, to ``assets`` of a built folder.

    The description is below each overlay: words that name a key object have the colour of its mask, and ambiguous
    phrases have a dashed underline. One of the records has an ambiguous phrase, if a record nearby has one. The shards
    are in the folder, or where ``find_shard`` says for their published path.

    Returns:
        the file written, or None if the dataset has no rows.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    rows = list(sample_rows(folder, manifest, find_shard))
    if not rows:
        return None
    path = folder / ASSETS_FOLDER / SAMPLES_NAME
    path.parent.mkdir(exist_ok=True)
    replace_file(path, encode_jpeg(draw_sheet(rows), quality=90))
    return path


def thumbnails(folder: Path, manifest: Manifest, max_side_px: int) -> Iterator[tuple[bytes, str]]:
    """Yield every other sample as JPEG with key objects drawn on it, and its description."""
    for row in islice(sample_rows(folder, manifest), 0, None, 2):
        image = _overlay(row)
        image.thumbnail((max_side_px, max_side_px))
        yield encode_jpeg(image), row["description"] or ""


def draw_sheet(rows: Sequence[_Row]) -> Image.Image:
    """Return a sheet of records, mode RGB; rows without the column ``overlay`` need all other columns."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(path, _FONT_PX, layout_engine=ImageFont.Layout.BASIC)
    text_height = max(len(_wrap(row["description"] or "", font)) for row in rows) * _LINE_PX
    cell_wh = (_IMAGE_WH[0] + _GAP_PX, _IMAGE_WH[1] + _GAP_PX // 2 + text_height + _GAP_PX)
    columns = min(len(rows), _GRID_COLUMNS)
    size_wh = (columns * cell_wh[0] + _GAP_PX, -(-len(rows) // columns) * cell_wh[1] + _GAP_PX)
    sheet = Image.new("RGB", size_wh, "white")
    for index, row in enumerate(rows):
        left, top = _GAP_PX + index % columns * cell_wh[0], _GAP_PX + index // columns * cell_wh[1]
        image = _overlay(row)
        image.thumbnail(_IMAGE_WH, Image.Resampling.LANCZOS)
        shift = ((_IMAGE_WH[0] - image.width) // 2, (_IMAGE_WH[1] - image.height) // 2)
        sheet.paste(image, (left + shift[0], top + shift[1]))
        _write_description(sheet, (left, top + _IMAGE_WH[1] + _GAP_PX // 2), row, font)
    return sheet


def sample_rows(folder: Path, manifest: Manifest, find_shard: FindShard | None = None) -> Iterator[_Row]:
    """Yield equally spaced rows; instead of a row without key object, the next one in its row group that has one.

    Until one of them has an ambiguous phrase, one of each row group is a row that has one, if there is any. Only shards
    and row groups with chosen rows are read.

    Raises:
        BuiltFolderError: a shard, or an image in it, cannot be read.

    """
    total = sum(shard.rows for shard in manifest.shards)
    count = min(_COUNT, total)
    wanted = [place * total // count for place in range(count)]
    end, needs_ambiguous = 0, True
    for shard in manifest.shards:
        first, end = end, end + shard.rows
        if not any(first <= place < end for place in wanted):
            continue
        path = folder / shard.path if find_shard is None else find_shard(shard.path)
        with open_shard(path) as file:
            columns = [*_TEXT_COLUMNS, "overlay"] if "overlay" in file.schema_arrow.names else None
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                places = [place - first for place in wanted if first <= place < first + rows]
                first += rows
                if places:
                    flags = [row for _, row in read_row_group(file, path, group, _FLAG_COLUMNS)]
                    ambiguous = [place for place, row in enumerate(flags) if needs_ambiguous and _is_ambiguous(row)]
                    needs_ambiguous = needs_ambiguous and not ambiguous
                    has_key = [any(item["is_key"] for item in row["objects"]) for row in flags]
                    chosen = _nearest(places, has_key, ambiguous)
                    for where, row in read_row_group(file, path, group, columns, chosen):
                        with naming_row(where):
                            _overlay(row)
                        yield row


def _is_ambiguous(row: _Row) -> bool:
    return any(phrase["status"] == PhraseStatus.AMBIGUOUS for phrase in row["phrases"])


def _nearest(places: Sequence[int], is_good: Sequence[bool], needed: Sequence[int] = ()) -> list[int]:
    """Move each index to the next free good one, or, without one, to any free one.

    Of the places ``needed``, the best for the first place is taken there: a good one if there is any.
    """
    taken = {max(needed, key=lambda place: (is_good[place], -place))} if needed else set[int]()
    for place in places[len(taken) :]:
        ahead = [(place + step) % len(is_good) for step in range(len(is_good))]
        free = [index for index in ahead if index not in taken]
        taken.add(next((index for index in free if is_good[index]), free[0]))
    return sorted(taken)


def _overlay(row: _Row) -> Image.Image:
    if "overlay" in row:
        return published_pixels(row["overlay"]["bytes"], row["overlay"]["path"] or "overlay")
    record = row_to_record(row)
    return draw_overlay(published_pixels(record.image.data, record.image.name), record.key_objects)


def _wrap(text: str, font: ImageFont.FreeTypeFont) -> list[tuple[int, int]]:
    """Break a text into at most four lines that fit under an image; return the span [start, end) of each."""
    lines: list[tuple[int, int]] = []
    for word in re.finditer(r"\S+", text):
        if lines and font.getlength(_plain(text[lines[-1][0] : word.end()])) <= _IMAGE_WH[0]:
            lines[-1] = (lines[-1][0], word.end())
        elif len(lines) < _LINES:
            lines.append(word.span())
        else:
            break
    return lines


def _write_description(sheet: Image.Image, origin_xy: tuple[int, int], row: _Row, font: ImageFont.FreeTypeFont) -> None:
    text = row["description"] or ""
    draw = ImageDraw.Draw(sheet)
    lines = _wrap(text, font)
    for number, (start, end) in enumerate(lines):
        is_cut = end - start > _LINE_CHARACTERS or (number == len(lines) - 1 and bool(text[end:].strip()))
        end = min(end, start + _LINE_CHARACTERS)
        while end > start + 1 and font.getlength(_plain(text[start:end], is_cut)) > _IMAGE_WH[0]:
            end, is_cut = end - 1, True
        left, top = origin_xy[0], origin_xy[1] + number * _LINE_PX
        for phrase_start, phrase_end, colours in _marks(row):
            begin, stop = max(start, phrase_start), min(end, phrase_end)
            if begin < stop:
                x0 = left + font.getlength(_plain(text[start:begin]))
                x1 = left + font.getlength(_plain(text[start:stop]))
                width = (x1 - x0) / len(colours)
                for place, colour in enumerate(colours):
                    edges = (x0 + place * width, top, x0 + (place + 1) * width, top + _LINE_PX - 3)
                    draw.rectangle(edges, fill=colour)
        for phrase in row["phrases"]:
            begin, stop = max(start, phrase["start"]), min(end, phrase["end"])
            if begin < stop and phrase["status"] == PhraseStatus.AMBIGUOUS:
                x0, x1 = (left + font.getlength(_plain(text[start:place])) for place in (begin, stop))
                for x in range(round(x0), round(x1) - 1, 10):
                    draw.rectangle((x, top + _LINE_PX - 4, min(x + 5, x1), top + _LINE_PX - 3), fill=_INK)
        draw.text((left, top), _plain(text[start:end], is_cut), fill=_INK, font=font)


def _marks(row: _Row) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Yield the span and the light colours of every phrase that names key objects."""
    shown = {item["id"] for item in row["objects"] if item["is_key"]}
    for phrase in row["phrases"]:
        colours = [object_colour(object_id) for object_id in phrase["object_ids"] if object_id in shown]
        if colours:
            light = [tuple(round(255 - _TINT * (255 - value)) for value in colour) for colour in colours]
            yield phrase["start"], phrase["end"], light  # type: ignore[misc]


def _plain(text: str, is_cut: bool = False) -> str:
    """Replace every white-space character by a space, so that lines stay whole and spans valid."""
    return re.sub(r"\s", " ", text) + ("\N{HORIZONTAL ELLIPSIS}" if is_cut else "")
