"""``dk.build`` from Python: all kinds of sources, objects as parts, and one-line errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import datasetkit as dk
from datasetkit.core.errors import DatasetkitError, OutputError, PluginError, RecipeError, SourceError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import PassedOver, PassedOverKind
from datasetkit.core.protocols import Entry, Reading, Source
from datasetkit.core.record import Provenance, Record
from datasetkit.options import CocoOptions, FolderOptions
from datasetkit.options.recipe import Recipe
from tests.annotation.models_by_hand import TableDetector, TableSegmenter
from tests.pipeline.builders import caption, image_entry, instance, make_image, put, records, write_coco


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [{"file_name": f"{number}.png", "text": f"a red bus and {number} cats"} for number in (2, 3)]
    put(tmp_path / "images", {f"{number}.png": make_image(number) for number in (2, 3)})
    return put(tmp_path / "images", {"metadata.jsonl": "\n".join(map(json.dumps, lines))})


def rows(count: int = 4) -> list[dict[str, Any]]:
    return [{"image": Image.fromarray(noise(number)), "text": f"a bus and {number} cats"} for number in range(count)]


def noise(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 255, (24, 31, 3), dtype=np.uint8)


def test_a_path_is_read_by_the_source_that_reads_it(folder: Path, tmp_path: Path) -> None:
    built = dk.build(str(folder), str(tmp_path / "out"), splits={"train": 1.0}, workers=1)
    assert (built.path, built.split_rows) == (tmp_path / "out", {"train": 2})
    again = dk.build(built.path, tmp_path / "again")
    assert again.manifest.recipe["source"]["name"] == "parquet"
    assert {record.description for record in records(tmp_path / "again").values()} == {
        "a red bus and 2 cats",
        "a red bus and 3 cats",
    }
    assert dk.build(tmp_path / "again" / "data", tmp_path / "third").split_rows == {"train": 2}


def test_a_source_by_its_name_takes_its_options_among_the_others(tmp_path: Path) -> None:
    built = dk.build("toyworld", tmp_path / "out", count=2, size_px=64, preset="none", overlay=False)
    assert (len(built), built.manifest.recipe["source"]["size_px"]) == (2, 64)


def test_options_of_a_source_a_recipe_and_its_file(folder: Path, tmp_path: Path) -> None:
    first = dk.build(FolderOptions(folder=folder), tmp_path / "a", key_max=2)
    second = dk.build(tmp_path / "a" / "recipe.yaml", tmp_path / "b", root=tmp_path)
    third = dk.build(Recipe(source=FolderOptions(folder=folder), key_max=2), tmp_path / "c")
    assert first.manifest.parts == second.manifest.parts == third.manifest.parts


@pytest.mark.parametrize("kind", ["dictionaries", "dataset", "arrays", "paths", "bytes"])
def test_rows_are_read_whatever_their_images_are(kind: str, tmp_path: Path) -> None:
    given: Any = rows()
    if kind == "dataset":
        given = datasets.Dataset.from_list(
            given, features=datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        )
    elif kind == "arrays":
        given = [{"image": noise(number), "text": row["text"]} for number, row in enumerate(given)]
    elif kind in {"paths", "bytes"}:
        files = put(tmp_path / "in", {f"{number}.png": make_image(number) for number in range(4)})
        paths = sorted(files.iterdir())
        images = paths if kind == "paths" else [path.read_bytes() for path in paths]
        given = [{"image": image, "text": row["text"]} for image, row in zip(images, given, strict=True)]
    built = dk.build(given, tmp_path / "out", splits={"train": 0.5, "test": 0.5})
    assert len(built) == 4
    assert built.manifest.plugins == ()
    assert {record.description for record in records(tmp_path / "out").values()} == {row["text"] for row in rows()}
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert dk.build(given, tmp_path / "out", splits={"train": 0.5, "test": 0.5}).manifest == built.manifest
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before, "equal rows are the same build"


def test_rows_of_a_built_dataset_come_back_as_records(tmp_path: Path) -> None:
    dk.build("toyworld", tmp_path / "scenes", count=3, size_px=64, preset="none", overlay=False)
    loaded = dk.load(tmp_path / "scenes", split="train")
    dk.build(loaded, tmp_path / "out", overlay=False)
    assert records(tmp_path / "out") == records(tmp_path / "scenes")


class Long:
    """A filter given as an object, with options."""

    def __init__(self, words: int) -> None:
        self._words = words

    def refusal(self, record: Record) -> str | None:
        return "too short" if len((record.description or "").split()) < self._words else None


def test_own_objects_take_part_and_are_named(tmp_path: Path) -> None:
    detector = TableDetector([(2.0, 2.0, 20.0, 20.0)], lambda _, phrase: 0.9 if "bus" in phrase else 0.1)
    built = dk.build(
        [*rows(), {"image": noise(9), "text": "a bus"}],
        tmp_path / "out",
        detector=detector,
        segmenter=TableSegmenter(),
        filters=Long(5),
        device="cpu",
    )
    assert len(built) == 4
    assert {(one.kind, one.path.partition(":")[2]) for one in built.manifest.plugins} == {
        ("detector", "TableDetector"),
        ("segmenter", "TableSegmenter"),
        ("filter", "Long"),
    }
    assert len(built.manifest.recipe["filters"][0]["settings"]) == 64
    assert [model.id for model in built.manifest.models] == ["table", "table"]
    with pytest.raises(OutputError, match=r"filters: .* there, .* here"):
        dk.build(rows(), tmp_path / "out", filters=Long(6))
    found = next(iter(records(tmp_path / "out").values()))
    assert [phrase.object_ids for phrase in found.phrases if phrase.text == "a bus"] == [(0,)]
    assert built.verify().is_sound


def test_progress_counts_up(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    dk.build(folder, tmp_path / "out", on_progress=lambda *step: seen.append(step))
    assert list(dict.fromkeys(seen)) == [("building", 0, 2), ("building", 1, 2), ("building", 2, 2)]
    assert seen == sorted(seen)


def test_masks_that_a_source_has_are_not_lost_by_accident(tmp_path: Path) -> None:
    source = CocoOptions(**write_coco(tmp_path / "in", [image_entry(1)], [instance(5, 1)], [caption(11, 1)]))
    with pytest.raises(RecipeError, match="add --relabel if that is intended"):
        dk.build(source, tmp_path / "out", preset="toyworld", device="cpu")


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("nowhere/at/all", {}, SourceError, "is neither an existing path nor a source; give a path, or one of coco"),
        (Long, {}, SourceError, "is not a source; give an object, a path, or the name of a class"),
        (None, {}, SourceError, "None is not a source"),
        ("folder", {"path": "x"}, RecipeError, "there is no option path; known: allow_code"),
        (rows(1), {"filters": Long}, RecipeError, "filters.0: Long is a class; give an object of it, or its name"),
        ([], {}, SourceError, "a list is not a sequence of rows, or empty"),
        ([{"text": "x"}], {}, SourceError, "has no column of encoded images"),
        ([3], {}, SourceError, "rows are of type int; give mappings"),
        ("user/name@v1", {"revision": "v2"}, RecipeError, "revision is given twice: the source already sets it"),
        (rows(1), {"colour": 1}, RecipeError, "there is no option colour; known: allow_code, caption_with"),
        (rows(1), {"limit": 0}, RecipeError, "limit: Input should be greater than or equal to 1"),
        (rows(1), {"detector": object(), "segmenter": TableSegmenter()}, PluginError, "has no method detect"),
        (rows(1), {"filters": [object()]}, PluginError, "filter builtins:object has no method refusal"),
        (rows(1), {"device": "cuda"}, RecipeError, "CUDA cannot be used"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(
    source: Any, options: dict[str, Any], error: type[DatasetkitError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        dk.build(source, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def changed(kind: str, tmp_path: Path) -> tuple[Any, Any]:
    """Return an image and another one with the same bytes, or the same name."""
    flat = np.arange(384, dtype=np.uint8)
    if kind == "shape":
        return flat.reshape(8, 16, 3), flat.reshape(16, 8, 3)
    if kind == "size":
        return Image.new("RGB", (8, 16)), Image.new("RGB", (16, 8))
    red, green = Image.new("P", (8, 8)), Image.new("P", (8, 8))
    red.putpalette([255, 0, 0])
    green.putpalette([0, 255, 0])
    if kind == "palette":
        return red, green
    return put(tmp_path, {"a.png": make_image(1)}) / "a.png", tmp_path / "a.png"


@pytest.mark.parametrize("kind", ["shape", "size", "palette", "file"])
def test_other_pixels_are_another_build(kind: str, tmp_path: Path) -> None:
    first, second = changed(kind, tmp_path)
    dk.build([{"image": first, "text": "a"}], tmp_path / "out")
    if kind == "file":
        put(tmp_path, {"a.png": make_image(2)})
    with pytest.raises(OutputError, match="the source has changed since"):
        dk.build([{"image": second, "text": "a"}], tmp_path / "out")


def test_a_list_of_built_rows_comes_back_as_records(tmp_path: Path) -> None:
    dk.build("toyworld", tmp_path / "scenes", count=2, size_px=64, preset="none", overlay=False)
    dk.build(list(dk.load(tmp_path / "scenes", split="train")), tmp_path / "out", overlay=False)
    found, expected = records(tmp_path / "out"), records(tmp_path / "scenes")
    assert {name: (one.objects, one.phrases) for name, one in found.items()} == {
        name: (one.objects, one.phrases) for name, one in expected.items()
    }


def test_rows_that_are_damaged_are_dropped_alone(tmp_path: Path) -> None:
    closed = Image.new("RGB", (4, 4))
    closed.close()
    given = [
        *rows(1),
        {"text": "no image"},
        None,
        {"image": closed, "text": "closed"},
        {"image": np.array(5, np.uint8), "text": "a number"},
        {"image": str(tmp_path / "none.png"), "text": "no file"},
        {"image": noise(5), "text": 3},
        {"image": bytearray(make_image(6)), "text": "bytes"},
    ]
    built = dk.build(given, tmp_path / "out")
    assert (len(built), sum(built.manifest.tally.dropped["record"].values())) == (3, 5)
    assert dk.build(given, tmp_path / "out").manifest == built.manifest


def test_a_table_of_pandas_and_files_of_datasets_are_rows(tmp_path: Path) -> None:
    files = put(tmp_path / "in", {f"{number}.png": make_image(number) for number in range(3)})
    paths = sorted(map(str, files.iterdir()))
    frame = pd.DataFrame({"image": paths, "text": ["a", "b", "c"]})
    assert len(dk.build(frame, tmp_path / "frame")) == 3
    loaded = datasets.Dataset.from_pandas(frame).cast_column("image", datasets.Image())
    assert len(dk.build(loaded, tmp_path / "dataset")) == 3


class Keyed(Long):
    """A filter that contains a secret."""

    def __init__(self, key: str) -> None:
        super().__init__(1)
        self._key = key
        self.path = f"/home/somebody/{key}"


def test_nothing_of_an_objects_attributes_is_published(tmp_path: Path) -> None:
    dk.build(rows(2), tmp_path / "out", filters=Keyed("sesame-2718"))
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"sesame-2718" not in path.read_bytes(), path


def test_options_of_the_source_of_a_path_are_taken(tmp_path: Path) -> None:
    lines = '{"file_name": "1.png", "caption": "one", "title": "other"}'
    folder = put(tmp_path / "in", {"1.png": make_image(1), "metadata.jsonl": lines})
    dk.build(folder, tmp_path / "out", caption_column="title", require_description=True)
    assert [record.description for record in records(tmp_path / "out").values()] == ["other"]
    pq.write_table(pa.table({"image": [make_image(1)], "a": ["x"], "b": ["y"]}), tmp_path / "rows.parquet")
    dk.build(tmp_path / "rows.parquet", tmp_path / "rows", text_column="b", split="test")
    assert [record.description for record in records(tmp_path / "rows").values()] == ["y"]
    with pytest.raises(RecipeError, match="root is for paths in a recipe file"):
        dk.build(folder, tmp_path / "other", root=tmp_path)


class Few(Source):
    """A source object that implements the protocol, and counts its creations."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def fingerprint(self) -> str:
        return "always the same"

    def __len__(self) -> int:
        return 1

    def entries(self) -> Iterator[Entry]:
        yield Entry("one", (), "test", None)

    def read(self, entry: Entry) -> Reading:
        loaded = load_image(make_image(3), "3.png")
        source = Provenance("here", "cc0-1.0", "0" * 64)
        return Reading(Record(entry.record_id, "one", loaded.encoded, "a cat", source), loaded.pixels)


def test_a_source_of_the_protocol_is_made_once(tmp_path: Path) -> None:
    built = dk.build(Few(), tmp_path / "out")
    assert (built.split_rows, Few.made) == ({"test": 1}, 1)
    assert dk.build(f"{Few.__module__}:Few", tmp_path / "named").split_rows == {"test": 1}
    assert Few.made == 2


@pytest.mark.parametrize("item", [PassedOver(PassedOverKind.OTHER_FILE, 2, ("x.mp4",)), "x.mp4"], ids=["one", "text"])
def test_a_source_says_what_it_passes_over(tmp_path: Path, item: Any) -> None:
    class Fewer(Few):
        def passed_over(self) -> Iterator[Any]:
            yield item

    if isinstance(item, str):
        with pytest.raises(SourceError, match="what was passed over is a str, not a PassedOver"):
            dk.build(Fewer(), tmp_path / "out")
    else:
        built = dk.build(Fewer(), tmp_path / "out")
        assert built.as_json()["passed_over"] == [{"kind": "other_file", "count": 2, "examples": ["x.mp4"]}]


def test_a_recipe_of_objects_says_so(tmp_path: Path) -> None:
    dk.build(rows(1), tmp_path / "rows")
    with pytest.raises(RecipeError, match="belongs to a build from Python objects"):
        dk.build(tmp_path / "rows" / "recipe.yaml", tmp_path / "again", root=tmp_path)
