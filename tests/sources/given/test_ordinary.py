"""Ordinary folders and files that are no data set of a known format: refused, with what was seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasetkit.core.errors import SourceError
from tests.sources.given.builders import format_of, write

FILES: dict[str, tuple[str, str]] = {
    "package.json": ('{"name": "app", "version": "1.0", "files": ["a.js"]}', "JSON with name, version, files"),
    "tsconfig.json": ('{"compilerOptions": {"strict": true}, "include": ["src"]}', "JSON with compilerOptions"),
    "numbers.json": ("[1, 2, 3]", "a JSON list"),
    "users.json": ('[{"id": 1, "name": "Ada"}]', "a JSON list, whose first element has id, name"),
    "images.json": ('{"images": ["a.jpg", "b.jpg"]}', "JSON with images"),
    "empty.json": ("{}", "a file that begins with"),
    "broken.json": ('{"images": [', "JSON with images"),
    "geo.json": ('{"type": "FeatureCollection", "features": []}', "JSON with type, features"),
    "notebook.ipynb": ('{"cells": [{"cell_type": "code", "source": []}], "nbformat": 4}', "JSON with cells, nbformat"),
    "results.jsonl": ('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4}\n', "JSON lines with step, loss"),
    "predictions.json": ('[{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.9}]', "a JSON list"),
    "table.csv": ("name,age\nAda,36\n", "a file that begins with"),
    "pom.xml": ("<project><modelVersion>4</modelVersion></project>", "XML that begins with <project>"),
    "feed.xml": ('<?xml version="1.0"?><rss><channel/></rss>', "XML that begins with <rss>"),
    "page.html": ("<!DOCTYPE html><html></html>", "a file that begins with"),
    "config.yaml": ("name: x\nsteps: [1, 2]\n", "a file that begins with"),
    "notes.txt": ("some notes", "a file that begins with"),
    "nothing.json": ("", "an empty file"),
}
FOLDERS: dict[str, dict[str, str]] = {
    "empty": {},
    "code": {"src/main.py": "print()", "README.md": "# Code", "setup.cfg": ""},
    "logs": {"run.log": "started", "metrics.json": '{"loss": 1}'},
    "web": {"index.html": "<html></html>", "style.css": "", "data.json": '{"items": []}'},
    "notes": {"a.txt": "one", "b.txt": "two"},
}


@pytest.mark.parametrize("name", FILES)
def test_ordinary_file_is_refused_with_what_was_seen(tmp_path: Path, name: str) -> None:
    text, seen = FILES[name]
    path = write(tmp_path / name, text)
    with pytest.raises(SourceError) as caught:
        format_of(path)
    assert f"{path} is in no known format: " in str(caught.value)
    assert seen in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FOLDERS)
def test_ordinary_folder_is_refused_with_what_was_seen(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    for name, text in FOLDERS[kind].items():
        write(folder / name, text)
    with pytest.raises(SourceError, match=r"is in no known format: it (holds|is an empty folder)"):
        format_of(folder)


def test_two_possible_formats_are_both_named(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "a.png", "height": 9, "width": 9}
    lines = [{"images": [image | {"caption": "a cat", "filename": "a.png", "sentences": [{"raw": "a cat"}]}]}]
    path = write(tmp_path / "both.json", json.dumps(lines[0] | {"annotations": [{"tokens_positive": [[0, 5]]}]}))
    with pytest.raises(SourceError, match=r"may be karpathy or mdetr; give one of them as --format"):
        format_of(path)
