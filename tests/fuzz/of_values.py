"""Changes to one value of a text file: JSON, JSON lines, YAML, CSV, plain text."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from typing import Any

import yaml

_DEEP = "@deep@"
_DEEP_TEXT = "[" * 3000 + "]" * 3000
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", " ", "x" * 10_000, "NaN", "null", "../../outside", "/etc/hostname", "a\0b", "\ud800", "é"),
    *(-1, 0, 1, 7, 10**30, -(10**30), 2**31, 2**63, 1e308, 0.5, -0.5, float("nan"), float("inf"), _DEEP),
    *([], {}, [None], [1], [[]], {"a": 1}, ["a", "b"], "0", "[1, 2]", "no such thing", "s3://nowhere", "{a: 1}"),
)
Json = Any


class NothingToChangeError(Exception):
    """A file contains nothing to change; another change is drawn."""


def change_value(value: Json, rng: random.Random) -> tuple[Json, str]:
    """Change one value inside plain values; return a changed copy and a description."""
    value = copy.deepcopy(value)
    places = list(_places(value, ()))
    if not places:
        raise NothingToChangeError
    # Deep places are many: the path's first part is drawn first.
    [head] = rng.sample(sorted({repr(place[0]) for place in places}), 1)
    place = rng.choice([one for one in places if repr(one[0]) == head])
    parent = value
    for part in place[:-1]:
        parent = parent[part]
    last = place[-1]
    reported = ".".join(map(str, place))[:120]
    act = rng.random()
    if act < 0.7:
        found = rng.choice(ODD_VALUES) if rng.random() < 0.8 else _near(parent[last], rng)
        parent[last] = found
        return value, f"{reported} = {found!r:.40}"
    if act < 0.85:
        del parent[last]
        return value, f"{reported} deleted"
    if isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
        return value, f"{reported} doubled"
    parent["unknown thing"] = parent.pop(last) if rng.random() < 0.5 else parent[last]
    return value, f"{reported} under another name"


def _near(value: Json, rng: random.Random) -> Json:
    """Return a value of the same type, or one that is written in the same way."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return rng.choice((-value, value + 1, value - 1, value * 1000, float(value), str(value)))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), [value], value * 2))
    return rng.choice((list(value) * 2, {"was": value}, list(reversed(list(value)))))


def _places(value: Json, way: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in items:
        found.append((*way, key))
        found += _places(inner, (*way, key))
    return found


def dumped(value: Json, indent: int | None = None) -> bytes:
    text = json.dumps(value, indent=indent).replace(f'"{_DEEP}"', _DEEP_TEXT)
    return text.encode("utf-8", "surrogatepass")


def in_json(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    value, what = change_value(json.loads(data), rng)
    return dumped(value, 1), what


def in_jsonl(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    act = rng.random()
    if act < 0.8:
        value, what = change_value(json.loads(lines[place]), rng)
        lines[place] = dumped(value)
    elif act < 0.9:
        what = "doubled"
        lines.insert(place, lines[place])
    else:
        what = "deleted"
        del lines[place]
    return b"\n".join(lines) + b"\n", f"line {place + 1}, {what}"


def in_yaml(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    value, what = change_value(yaml.safe_load(data), rng)
    return yaml.safe_dump(value).replace(_DEEP, _DEEP_TEXT).encode("utf-8", "surrogatepass"), what


def in_csv(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    rows = list(csv.reader(io.StringIO(data.decode())))
    row = rng.randrange(len(rows))
    column = rng.randrange(len(rows[row]))
    act = rng.randrange(6)
    if act <= 1:
        text = str(rng.choice(ODD_VALUES)).replace("\ud800", "?")
        rows[row][column], what = text, f"row {row}, column {column} = {text!r:.40}"
    elif act == 2:
        rows, what = [[*cells[:column], *cells[column + 1 :]] for cells in rows], f"column {column} deleted"
    elif act == 3:
        rows, what = [[*cells, cells[column]] for cells in rows], f"column {column} doubled"
    elif act == 4:
        rows[row], what = [*rows[row], "more"], f"row {row} with one cell more"
    else:
        what = f"row {row} deleted"
        del rows[row]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(), what


def in_text(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    found = rng.choice(ODD_VALUES)
    return str(found).encode("utf-8", "surrogatepass"), f"the text {found!r:.40}"
