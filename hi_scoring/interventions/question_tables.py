"""Tables of closed questions: CSV or Parquet, one question per row, next to their images. Owns which columns are read.

The columns of the reference data are supported: GQA's questions as selected by Zhang et al., "Cross-modal Information
Flow in Multimodal Large Language Models" (arXiv 2411.18620), in six categories.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.documents import load_json
from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.paths import Place, path_inside
from datasetkit.core.text import one_line
from datasetkit.hi_scoring.data.datasets import DataIdentity, check_columns
from datasetkit.hi_scoring.interventions.questions import Box, ClosedQuestion, Questions, asked
from datasetkit.hi_scoring.runs.drops import row_drop

# GQA's structural and semantic type of a question, and the category's name in the paper.
_GQA_CATEGORIES = {
    ("choose", "attr"): "choose attribute",
    ("choose", "cat"): "choose category",
    ("choose", "rel"): "choose relation",
    ("compare", "attr"): "compare attribute",
    ("logical", "obj"): "logical object",
    ("query", "attr"): "query attribute",
}
# One coordinate of the box of one of the question's objects, such as ``object1 x``.
_BOX_COLUMN = re.compile(r"(?P<object>.+)[ _](?P<side>[xywh])")
_ABSENT = ("", "-")


def read_question_table(path: Path, template: str, limit: int | None = None) -> Questions:
    """Read a table of questions; check that images exist, and read them only when they are needed.

    Columns: ``image`` (a path below the table's folder) or ``img_id`` (the name of a JPEG there); ``question``;
    ``answer``; and, optionally, ``options`` (a list, in CSV as JSON) or ``true option`` and ``false option``; ``boxes``
    (a list of left, top, width and height in px, in CSV as JSON) or ``NAME x``, ``NAME y``, ``NAME w`` and ``NAME h``
    for each object; ``category`` or ``type``, or GQA's ``type_structural`` and ``type_semantic``; ``record_id`` or
    ``question_id``, which several rows may share. Blank and "-" mean no value.

    Raises:
        SourceError: the table cannot be read, lacks a column, or has no usable question.

    """
    rows, folder = _read(path)[:limit], path.parent.resolve()
    items: list[ClosedQuestion] = []
    drops: list[Drop] = []
    images: dict[int, Place] = {}
    names = [_first(row, "record_id", "question_id") or f"row-{place}" for place, row in enumerate(rows)]
    asked_before: Counter[str] = Counter()
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        try:
            images[place] = _image(row, folder)
            items.append(_question(row, place, name, asked_before[name], template))
        except UnusableError as error:
            drops.append(row_drop(place, name, error))
        asked_before[name] += 1
    identity = DataIdentity(path.name, "all", None, _digest(path, images.values()), len(rows))
    return asked(items, drops, _TableRows(names, images), identity)


class _TableRows:
    """The rows' images, with the interface of :class:`datasetkit.hi_scoring.data.reading.Rows`."""

    def __init__(self, names: Sequence[str], images: Mapping[int, Place]) -> None:
        self._names = names
        self._images = images

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        path = self._images[index]
        return {"image": {"bytes": path.read_bytes(), "path": path.name}}

    def name(self, index: int, /) -> str:
        """Return the name of a row."""
        return self._names[index]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            columns = pq.read_schema(path).names
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            columns = list(frame.columns)
            rows = [dict(zip(columns, row, strict=True)) for row in frame.to_numpy().tolist()]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {one_line(error)}") from error
    check_columns(str(path), columns, (("image", "img_id"), ("question",), ("answer",)))
    return rows


def _digest(path: Path, images: Iterable[Place]) -> str:
    """Return the hash of the content of the table and of its images, by name."""
    digest = hashlib.sha256()
    for one in (path, *sorted(set(images), key=str)):
        digest.update(f"{one.name} {hashlib.sha256(one.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _image(row: Mapping[str, Any], folder: Path) -> Place:
    name = _image_name(row)
    if not name:
        raise UnusableError(DropReason.BAD_ROW, "the row names no image")
    path = path_inside(folder, name)
    if not path.is_file():
        raise UnusableError(DropReason.MISSING, f"{name} does not exist")
    return path


def _image_name(row: Mapping[str, Any]) -> str:
    """Return the path of a row's image below the folder; blank if it has none."""
    name = _first(row, "image")
    jpeg = _first(row, "img_id")
    return name or (f"{jpeg}.jpg" if jpeg and not PurePosixPath(jpeg).suffix else jpeg)


def _question(row: Mapping[str, Any], place: int, name: str, number: int, template: str) -> ClosedQuestion:
    question, answer = _first(row, "question"), _first(row, "answer")
    if not question or not answer:
        raise UnusableError(DropReason.BAD_ROW, "the row has no question, or no answer")
    if _first(row, "options"):
        options = tuple(str(option).strip() for option in _list(row["options"], "options"))
    else:
        both = (_first(row, "true option"), _first(row, "false option"))
        options = both if all(both) else ()
    if options and answer not in options:
        raise UnusableError(DropReason.BAD_ROW, f"the answer {answer!r} is not one of the options {', '.join(options)}")
    structural, semantic = _first(row, "type_structural"), _first(row, "type_semantic")
    of_gqa = _GQA_CATEGORIES.get((structural, semantic), f"{structural} {semantic}".strip())
    return ClosedQuestion(
        row=place,
        number=number,
        record_id=name,
        picture_id=str(PurePosixPath(_image_name(row))),
        category=_first(row, "category", "type") or of_gqa,
        question=question,
        answer=answer,
        options=options,
        template=template,
        boxes=_boxes(row),
    )


def _boxes(row: Mapping[str, Any]) -> tuple[Box, ...]:
    boxes = [_box(box) for box in _list(row["boxes"], "boxes")] if _first(row, "boxes") else []
    objects: dict[str, dict[str, Any]] = {}
    for column in row:
        match = _BOX_COLUMN.fullmatch(column)
        if match and _first(row, column):
            objects.setdefault(match["object"], {})[match["side"]] = row[column]
    whole = (sides for sides in objects.values() if len(sides) == 4)
    return (*boxes, *(_box([sides[side] for side in "xywh"]) for sides in whole))


def _box(value: Any) -> Box:
    try:
        left, top, width, height = (float(number) for number in value)
    except (TypeError, ValueError) as error:
        raise UnusableError(DropReason.BAD_ROW, f"the box {value!r} is not left, top, width and height") from error
    if not all(map(math.isfinite, (left, top, width, height))) or width <= 0 or height <= 0:
        raise UnusableError(DropReason.BAD_ROW, f"the box {value!r} has no area")
    return left, top, width, height


def _list(value: Any, column: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = load_json(value)
        except ValueError as error:
            raise UnusableError(DropReason.BAD_ROW, f"{column} is not JSON: {value[:80]!r}") from error
    if not isinstance(value, list):
        raise UnusableError(DropReason.BAD_ROW, f"{column} is not a list: {value!r}")
    return value


def _first(row: Mapping[str, Any], *columns: str) -> str:
    """Return the value of the first of these columns that has one, as text; blank if none has."""
    texts = (str(row[column]).strip() for column in columns if row.get(column) is not None)
    return next((text for text in texts if text not in _ABSENT), "")
