"""The JSON index: the same elements as json.loads for any chunk size, and one line for anything broken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datasetkit.core.errors import SourceError
from datasetkit.sources import json_index
from datasetkit.sources.json_index import JsonFile, Postings

NUMBERS = st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.text(st.characters(max_codepoint=126, exclude_categories=["Cs"]), max_size=6)
DOCUMENTS = st.dictionaries(KEYS, VALUES | st.lists(VALUES, max_size=5), max_size=5)
SMALL = {"info": {"year": 2017.5}, "images": [{"id": 1, "file_name": 'кот "1".jpg'}, {"id": -2e3}], "n": [1.5, []]}
slow_fixture_is_fine = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def elements(file: JsonFile) -> list[tuple[str, Any]]:
    places: list[tuple[str, int, int]] = []
    file.scan(lambda key, _, start, length: places.append((key, start, length)))
    return [(key, file.element(start, length)) for key, start, length in places]


def expected(document: dict) -> list[tuple[str, Any]]:
    return [(key, element) for key, value in document.items() if isinstance(value, list) for element in value]


@slow_fixture_is_fine
@given(
    document=DOCUMENTS,
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
    separators=st.sampled_from([None, (",", ":"), (" , ", " : ")]),
    ascii_only=st.booleans(),
)
@example({"a": [1.5], "b": 1e22, "c": -0.0}, 1, None, (",", ":"), True)
@example({"a": [0, "x"]}, 7, None, (",", ":"), True)
@pytest.mark.slow
def test_any_document_at_any_chunk_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    document: dict,
    chunk: int,
    indent: int | None,
    separators: tuple[str, str] | None,
    ascii_only: bool,
) -> None:
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "surrogatepass")
    (tmp_path / "document.json").write_bytes(data)
    monkeypatch.setattr(json_index, "_CHUNK_BYTES", chunk)
    file = JsonFile(tmp_path / "document.json")
    assert elements(file) == expected(json.loads(text))
    assert file.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 2**20])
@pytest.mark.parametrize("number", ["1.5", "1e+5", "-1E-5", "0.25e10", "-0", "123456789012345678901234567890"])
def test_number_may_end_anywhere_in_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, chunk: int
) -> None:
    (tmp_path / "n.json").write_text(f'{{"v":{number},"a":[{number},{number}]}}')
    monkeypatch.setattr(json_index, "_CHUNK_BYTES", chunk)
    assert elements(JsonFile(tmp_path / "n.json")) == [("a", json.loads(number))] * 2


def fault(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "broken.json"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        JsonFile(path).scan(lambda *_: None)
    message = str(caught.value)
    assert "broken.json" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("chunk", [1, 7, 2**20])
def test_truncation_anywhere_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    data = json.dumps(SMALL, ensure_ascii=False).encode()
    monkeypatch.setattr(json_index, "_CHUNK_BYTES", chunk)
    for length in range(len(data)):
        assert "byte " in fault(tmp_path, data[:length])


@pytest.mark.parametrize("chunk", [1, 2**20])
def test_any_changed_byte_is_read_as_by_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    data = json.dumps(SMALL, ensure_ascii=False).encode()
    monkeypatch.setattr(json_index, "_CHUNK_BYTES", chunk)
    for place in range(len(data)):
        for strange in (b"\xff", b"]", b'"', b","):
            changed = data[:place] + strange + data[place + 1 :]
            try:
                document = json.loads(changed.decode())
            except ValueError:
                assert "byte " in fault(tmp_path, changed)
            else:
                (tmp_path / "still.json").write_bytes(changed)
                assert elements(JsonFile(tmp_path / "still.json")) == expected(document)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected '{', found 'the end of the file' (byte 0)"),
        (b"   ", "found 'the end of the file' (byte 3)"),
        (b"null", "expected '{', found 'n' (byte 0)"),
        (b'{"a": [1, 2}', "expected ',', found '}' (byte 11)"),
        (b'{"a": [1,, 2]}', "Expecting value (byte 9)"),
        (b'{"a": [1] "b": 2}', "expected ',', found '\"' (byte 10)"),
        (b'{"a": [{"id": }]}', "Expecting value (byte 14)"),
        (b'{"a": "text}', "Unterminated string starting at (byte 6)"),
        (b"{1: []}", "expected a key in double quotes (byte 1)"),
        (b'{"a": []} {}', "something follows the closing bracket (byte 10)"),
        (b'{"a": [], }', "byte 10"),
        (b'{"a": ["\xff"]}', "is not UTF-8 text (byte 8)"),
        (b'{"a": ["\xd0"]}', "is not UTF-8 text (byte 8)"),
        (b'{"a": [' + b"[" * 100_000, "nested too deep"),
        (b'{"a": [' + b"9" * 5_000 + b"]}", "too many digits"),
        (b"\x1f\x8b\x08\x00 gzip", "cannot be decompressed"),
        ('{"a": []}'.encode("utf-16-le"), "expected a key in double quotes (byte 1)"),
        ('{"a": ["é"]}'.encode("cp1252"), "is not UTF-8 text (byte 8); give its encoding as --encoding"),
    ],
)
def test_message_names_fault_and_byte(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in fault(tmp_path, data)


def test_late_fault_is_located_by_its_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_index, "_CHUNK_BYTES", 64)
    good = json.dumps({"images": [{"id": number} for number in range(500)]}).encode()
    place = good.index(b'{"id": 400}')
    assert f"(byte {place + 7})" in fault(tmp_path, good[:place] + b'{"id": ?00}' + good[place + 11 :])
    assert f"UTF-8 text (byte {place})" in fault(tmp_path, good[:place] + b"\xe2\x28\xa1" + good[place + 3 :])


def test_early_fault_ends_the_reading() -> None:
    stream = io.BytesIO(b'{"id" 1}' + b" " * 2**23)
    with pytest.raises(SourceError, match="byte 6"):
        json_index._Scanner(stream.read, "large.json").value()
    assert stream.tell() == 2**20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1251"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_and_gzip(tmp_path: Path, encoding: str, packed: bool) -> None:
    data = '[{"t": "кот"}, "\\u043a"]'.encode(encoding)
    (tmp_path / "t.json").write_bytes(gzip.compress(data) if packed else data)
    file = JsonFile(tmp_path / "t.json", encoding if encoding == "cp1251" else None)
    seen: list[Any] = []
    file.scan(lambda key, element, start, length: seen.append((key, element, file.element(start, length))))
    assert seen == [("", {"t": "кот"}, {"t": "кот"}), ("", "к", "к")]


def test_keys_of_the_top_level(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text('{"a": [1], "b": {"c": []}, "d": null, "e": []}')
    assert JsonFile(tmp_path / "k.json").scan(lambda *_: None) == {"a": True, "b": False, "e": True}


def test_lone_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(r'{"a": [{"t": "a \ud83d b"}, "\ud83d\ude00", "\\ud83d", "\udcff"]}')
    found = [element for _, element in elements(JsonFile(tmp_path / "s.json"))]
    assert found == [{"t": "a ? b"}, "😀", "\\ud83d", "?"]


def test_missing_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text("{}")
    with pytest.raises(SourceError, match=r"instance\.json does not exist; did you mean .*instances\.json\?"):
        JsonFile(tmp_path / "instance.json")
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        JsonFile(tmp_path)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(1, 2**40))))
def test_postings_group_in_order(added: list[tuple[int, int, int, int]]) -> None:
    postings = Postings()
    for owner, *place in added:
        postings.add(owner, *place)
    postings.group(9)
    assert len(postings) == len(added)
    for owner in range(9):
        assert postings.of(owner) == [tuple(place) for number, *place in added if number == owner]
