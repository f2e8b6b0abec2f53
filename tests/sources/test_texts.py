"""Text files: compressed, with byte-order marks, in other encodings, and broken ones."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.sources.texts import decoded, open_utf8

TEXT = '{"a": "café 😀"}\r\n'


def read(path: Path, data: bytes, encoding: str | None = None) -> bytes:
    path.write_bytes(data)
    with open_utf8(path, encoding) as file:
        return file.read()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode(), None),
        (TEXT.encode(), "utf8"),
        (TEXT.encode("utf-8-sig"), None),
        (TEXT.encode("utf-16"), None),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), None),
        (TEXT.encode("utf-32"), "latin-1"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), None),
    ],
)
def test_every_text_becomes_utf8(tmp_path: Path, data: bytes, encoding: str | None) -> None:
    assert read(tmp_path / "text", data, encoding) == TEXT.encode()


def test_one_byte_encoding_must_be_named(tmp_path: Path) -> None:
    assert read(tmp_path / "text", "café".encode("cp1252"), "cp1252") == "café".encode()
    assert decoded("café".encode("cp1252"), "a.txt", "cp1252") == "café"
    with pytest.raises(UnusableError, match=r"a\.txt is not UTF-8 text \(byte 3\); give its encoding as --encoding"):
        decoded("café".encode("cp1252"), "a.txt")


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], None, "cannot be decompressed"),
        (gzip.compress(bytes(2**26 + 1), mtime=0), None, "decompresses to more than 67,108,864 bytes"),
        (b"\xff", "ascii", "is not ascii text"),
        (codecs.BOM_UTF16_LE + b"a", None, "is not utf-16 text"),
    ],
)
def test_texts_that_are_refused(tmp_path: Path, data: bytes, encoding: str | None, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "text", data, encoding)


# UTF-16's mark and a NUL are the mark of UTF-32.
@given(
    st.text().filter(lambda text: not text.startswith(("\ufeff", "\0"))),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_decoding_removes_every_mark(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding), "a.txt") == text
