"""YAML and JSON from users: errors are one line with their position, and reading always ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.documents import DocumentError, load_json, load_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("a: &x\n  - *x", "line 2, column 5: *x is inside the node that it names"),
        (LAUGHS, "line 6, column 5: more than 200,000 values, counting aliased ones each time"),
        ("a: " + "[" * 3000, "line 1, column 103: nested more than 100 deep"),
        ("a:\n  b: " + "9" * 5000, "line 2, column 6: " + "9" * 60 + "... cannot be read as int"),
        (
            "a: 0x" + "f" * 5000,
            "line 1, column 4: the number 0x" + "f" * 58 + "... is too large; the limit is 300 digits",
        ),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key a is repeated"),
        ("a: 1\nb: {c: 1, 'c': 2}", "line 2, column 11: the key c is repeated"),
        ("a: 1\nb: \0", "line 2: character #x0000 is invalid in YAML"),
        (b"a: 1\n\nb: \xff", "line 3: byte 0xff is not UTF-8; save it as UTF-8"),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor for the tag"),
        ("a: 2024-99-99", "line 1, column 4: 2024-99-99 cannot be read as timestamp"),
        ("a: !!bool maybe", "line 1, column 4: maybe cannot be read as bool"),
        ("? [1]\n: 2", "line 1, column 3: found unhashable key"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("x" * 2**25, "33,554,432 bytes of YAML; at most 1,048,576 are read"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_yaml_that_is_refused(text: str | bytes, reported: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_yaml(text)
    assert str(caught.value).startswith(reported)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("[" * 100_000, "brackets are nested too deeply"),
        ('{"a": ' * 100_000, "brackets are nested too deeply"),
        ("9" * 5000, "the number " + "9" * 60 + "... has 5,000 digits; the limit is 300"),
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', "the key c is repeated in one object"),
        ("[NaN]", "NaN is not a finite number"),
        ("[1e999]", "1e999 is not a finite number"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        (b'{"a":\n"\xff"}', "line 2: byte 0xff is not UTF-8; save it as UTF-8"),
        ("", "line 1, column 1: Expecting value"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_json_that_is_refused(text: str | bytes, reported: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_json(text)
    assert str(caught.value) == reported


@given(PLAIN)
def test_plain_values_are_read_as_by_the_libraries(value: Any) -> None:
    assert load_json(json.dumps(value)) == value
    text = yaml.safe_dump(value, allow_unicode=True)
    assert load_yaml(text) == yaml.safe_load(text)


def test_aliases_and_merges_stay_possible() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlist: [*base, *base]\n"
    assert load_yaml(text) == yaml.safe_load(text)


def test_lines_are_counted_from_where_a_document_begins() -> None:
    with pytest.raises(DocumentError, match="line 3, column 1: the key a is repeated"):
        load_yaml("a: 1\na: 2\n", first_line=2)
