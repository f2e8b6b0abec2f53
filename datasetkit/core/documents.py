"""YAML and JSON that users may have written or edited. Owns their limits, and their one-line errors.

A document is refused where a value would be lost, or where reading would not end: repeated keys, numbers of thousands
of digits, endless brackets or aliases. The error names the line; the caller adds the name of the file.
"""

from __future__ import annotations

import errno
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from datasetkit.core.errors import DatasetkitError
from datasetkit.core.paths import Place
from datasetkit.core.text import one_line

_MOST_YAML_BYTES = 2**20
_MOST_DEPTH = 100
_MOST_NODES = 200_000  # takes seconds to read
_MOST_DIGITS = 300  # fewer than a float can represent
_MOST_SHOWN = 60


class DocumentError(DatasetkitError, ValueError):
    """A text is not valid YAML or JSON, or exceeds the limits."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file as plain values; see :func:`load_yaml`. Errors name the file."""
    try:
        return load_yaml(_content(path))
    except DocumentError as error:
        raise DocumentError(f"{path} is not YAML: {error}") from None


def load_yaml(text: str | bytes, first_line: int = 1) -> Any:
    """Load YAML as plain values; messages count lines from ``first_line``.

    Raises:
        DocumentError: it is not YAML in UTF-8, has tags or repeated keys, or exceeds the limits.

    """
    if len(text) > _MOST_YAML_BYTES:
        raise DocumentError(f"{len(text):,} bytes of YAML; at most {_MOST_YAML_BYTES:,} are read")
    text = _decoded(text)
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + first_line
        raise DocumentError(f"line {line}: character #x{ord(text[error.position]):04x} is invalid in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f"line {mark.line + first_line}, column {mark.column + 1}: "
        raise DocumentError(f"{place}{one_line(error.problem or error.context)}") from None


def load_json(text: str | bytes) -> Any:
    """Load JSON as plain values.

    Raises:
        DocumentError: it is not JSON in UTF-8, has repeated keys, or exceeds the limits.

    """
    try:
        return json.loads(
            _decoded(text),
            object_pairs_hook=_no_twins,
            parse_int=_whole_number,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DocumentError("brackets are nested too deeply") from None


def read_json(path: Place) -> Any:
    """Read a JSON file as plain values; see :func:`load_json`. Errors name the file."""
    try:
        return load_json(_content(path))
    except DocumentError as error:
        raise DocumentError(f"{path} is not JSON: {error}") from None


def _content(path: Place) -> bytes:
    try:
        return path.read_bytes()
    except ValueError as error:  # a null byte
        raise FileNotFoundError(errno.ENOENT, f"not a valid file name ({error})", str(path)) from None


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"line {line}: byte 0x{text[error.start]:02x} is not UTF-8; save it as UTF-8") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twin = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise DocumentError(f"the key {_short(twin)} is repeated in one object")
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise DocumentError(f"the number {_short(digits)} has {len(digits):,} digits; the limit is {_MOST_DIGITS}")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DocumentError(f"{_short(digits)} is not a finite number")
    return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


class _Loader(yaml.SafeLoader):
    """Load plain values only, within the limits; errors name the line."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one node; the node that an alias names is read already, or is still being read."""
        event = self.peek_event()
        mark = event.start_mark
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _mistake(f"nested more than {_MOST_DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _mistake(f"*{event.anchor} is inside the node that it names", mark)
        else:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(inner)] for inner in _inner(node))
        if self._sizes[id(node)] > _MOST_NODES:
            raise _mistake(f"more than {_MOST_NODES:,} values, counting aliased ones each time", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a scalar node."""
        try:
            value = super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError):  # digits, dates and tagged values
            kind = node.tag.rpartition(":")[2]
            raise _mistake(f"{_short(node.value)} cannot be read as {kind}", node.start_mark) from None
        if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
            raise _mistake(
                f"the number {_short(node.value)} is too large; the limit is {_MOST_DIGITS} digits", node.start_mark
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; repeated keys are refused."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _mistake(f"the key {_short(key.value)} is repeated", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


def _mistake(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
