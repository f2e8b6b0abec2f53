"""Open datasets for head scores: built folders, other folders, datasets on the Hub, and the errors otherwise."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from PIL import Image

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.rows import masks as masks_of
from datasetkit.export.publish.hub.push import push
from datasetkit.hi_scoring.data.datasets import open_data
from datasetkit.hi_scoring.data.reading import read_sample
from tests.export.folders import record, rows_of, write_folder
from tests.hi_scoring.images import TEXT, sample
from tests.hi_scoring.scored import png
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built folder of five rows in two splits; read-only."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    rows = rows_of([record(number) for number in range(5)])
    write_folder(folder, {"train": [rows[:2], rows[2:3]], "test": [rows[3:]]})
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def mask_png(number: int) -> bytes:
    union = sample(number).masks.any(0)
    return png(Image.fromarray(union.astype(np.uint8) * 255))


def imagefolder(folder: Path, count: int = 3) -> Path:
    """Images with texts and one mask each, as ``datasets`` reads them."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        (folder / f"{number}.png").write_bytes(png(sample(number).image))
        (folder / f"{number}_mask.png").write_bytes(mask_png(number))
        lines.append({"file_name": f"{number}.png", "mask_file_name": f"{number}_mask.png", "caption": TEXT})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def parquet(folder: Path, count: int = 3) -> Path:
    """Rows not built by datasetkit in one file: image, text, a list of masks."""
    folder.mkdir(parents=True)
    rows = {
        "image": [{"bytes": png(sample(number).image), "path": None} for number in range(count)],
        "text": [TEXT] * count,
        "masks": [[{"bytes": mask_png(number), "path": None}] for number in range(count)],
        "stars": list(range(count)),
    }
    features = {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "masks": datasets.List(datasets.Image()),
        "stars": datasets.Value("int64"),
    }
    datasets.Dataset.from_dict(rows, datasets.Features(features)).to_parquet(folder / "rows.parquet")
    return folder


def test_built_folder_is_identified_by_its_manifest(built: Path) -> None:
    data = open_data(str(built))
    manifest = hashlib.sha256((built / "manifest.json").read_bytes()).hexdigest()
    assert data.identity.as_json() == {
        "name": "scenes",
        "split": "train",
        "revision": None,
        "sha256": manifest,
        "rows": 3,
    }
    shards = sorted((built / "data").glob("train-*.parquet"))
    wanted = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    assert len(data) == len(wanted) == 3
    for number, one in enumerate(wanted):
        assert data[number]["record_id"] == one["record_id"]
        assert data.image_id(number) == one["image_id"] != one["record_id"]
        assert data[number]["image"]["bytes"] == one["image"]["bytes"]
        assert data[number]["objects"] == one["objects"]
        kept = read_sample(data, number)
        assert kept.record_id == one["record_id"]
        keys = [item["is_key"] for item in one["objects"]]
        assert {mask.tobytes() for mask in kept.masks} <= {mask.tobytes() for mask in masks_of(one)[keys]}


@pytest.mark.parametrize(("split", "limit", "rows"), [("test", None, 2), ("train", 2, 2), (None, 1, 1), ("test", 9, 2)])
def test_split_and_limit_are_part_of_the_identity(built: Path, split: str | None, limit: int | None, rows: int) -> None:
    data = open_data(f"{built}/", split, limit)
    assert len(data) == data.identity.rows == rows
    assert data.identity.split == (split or "train")
    assert data.identity.name == "scenes"


@pytest.mark.parametrize(
    ("image_ids", "expected"),
    [
        (None, ["mine-0", "mine-1", "mine-2"]),
        ([7, 7, 0], ["7", "7", "0"]),
        (["dogs", None, ""], ["dogs", "mine-1", "mine-2"]),
    ],
)
def test_rows_without_image_id_count_as_separate_images(
    tmp_path: Path, image_ids: list[Any] | None, expected: list[str]
) -> None:
    columns: dict[str, list[Any]] = {"image": ["x"] * 3, "text": [TEXT] * 3, "masks": [[1]] * 3}
    columns["record_id"] = [f"mine-{number}" for number in range(3)]
    if image_ids is not None:
        columns["image_id"] = image_ids
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "plain" / "rows.parquet")
    data = open_data(str(tmp_path / "plain"))
    assert [data.image_id(number) for number in range(3)] == expected


def test_shares_rows_with_first_rows_of_the_same_split(built: Path) -> None:
    train, few = open_data(str(built), "train").identity, open_data(str(built), "train", 1).identity
    assert train.shares_rows(train.as_json())
    assert train.shares_rows(few.as_json())
    assert few.shares_rows(train.as_json())
    assert not train.shares_rows(open_data(str(built), "test").identity.as_json())
    assert not train.shares_rows(train.as_json() | {"sha256": "0" * 64})
    assert not train.shares_rows({})


@pytest.mark.parametrize("make", [imagefolder, parquet])
def test_foreign_folders_are_read(tmp_path: Path, make: Any) -> None:
    data = open_data(str(make(tmp_path / "plain")))
    assert (data.identity.name, data.identity.split, len(data)) == ("plain", "train", 3)
    for number in range(3):
        kept, wanted = read_sample(data, number), sample(number)
        assert (kept.record_id, kept.text, kept.mentions) == (f"row-{number}", TEXT, ())
        assert kept.image.tobytes() == wanted.image.tobytes()
        assert np.array_equal(kept.masks, wanted.masks.any(0, keepdims=True))


@pytest.mark.parametrize("make", [imagefolder, parquet])
def test_foreign_folders_are_identified_by_content(tmp_path: Path, make: Any) -> None:
    first = make(tmp_path / "a" / "plain")
    second = shutil.copytree(first, tmp_path / "b" / "plain")
    (second / "notes").mkdir()
    (second / "notes" / "README.md").write_text("Not of the data.")
    before = open_data(str(first)).identity
    assert before == open_data(str(second)).identity
    assert len(before.sha256 or "") == 64
    path = next(path for path in sorted(second.iterdir()) if path.suffix in {".png", ".parquet"})
    if path.suffix == ".png":
        path.write_bytes(png(sample(9).image))
    else:
        parquet(tmp_path / "c", count=4)
        shutil.copy(tmp_path / "c" / "rows.parquet", path)
    os.utime(path, (1, 1))
    assert open_data(str(second), limit=3).identity.sha256 != before.sha256


def test_damaged_image_drops_its_row(tmp_path: Path) -> None:
    folder = imagefolder(tmp_path / "plain")
    data = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(data[: len(data) // 2])
    opened = open_data(str(folder))
    with pytest.raises(UnusableError, match=r"1\.png cannot be decoded completely") as caught:
        read_sample(opened, 1)
    assert caught.value.reason == "truncated"
    assert read_sample(opened, 2).record_id == "row-2"
    (folder / "2.png").unlink()
    with pytest.raises(UnusableError) as caught:
        read_sample(opened, 2)
    assert caught.value.reason == "unreadable"


def test_row_with_undecodable_mask_keeps_its_name(tmp_path: Path) -> None:
    folder = imagefolder(tmp_path / "plain", 2)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    named = [{**line, "record_id": f"mine-{number}"} for number, line in enumerate(lines)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in named))
    (folder / "1_mask.png").write_bytes(b"no image")
    opened = open_data(str(folder))
    assert read_sample(opened, 0).record_id == "mine-0"
    with pytest.raises(UnusableError) as caught:
        read_sample(opened, 1)
    assert caught.value.reason == "unreadable"
    assert opened.name(1) == "mine-1"


def test_exif_rotated_image_is_scored_upright(tmp_path: Path) -> None:
    folder = imagefolder(tmp_path / "plain", 1)
    pixels = sample(0).image.resize((84, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", exif=exif)
    (folder / "0.png").write_bytes(buffer.getvalue())
    mask = np.zeros((84, 60), np.uint8)
    mask[:20] = 255
    (folder / "0_mask.png").write_bytes(png(Image.fromarray(mask)))
    kept = read_sample(open_data(str(folder)), 0)
    assert kept.image.size == (60, 84)
    assert kept.image.tobytes() == pixels.transpose(Image.Transpose.ROTATE_270).tobytes()
    assert kept.masks.sum() == 20 * 60


def test_hub_datasets_are_identified_by_commit(hub: HubServer, built: Path) -> None:
    push(built, "user/scenes", endpoint=hub.endpoint, token=hub.token, tag="v1")
    first = hub.repository("user/scenes").head
    data = open_data("user/scenes")
    assert (data.identity.name, data.identity.revision, data.identity.sha256) == ("user/scenes", first, None)
    assert [read_sample(data, number).record_id for number in range(3)] == [
        read_sample(open_data(str(built)), number).record_id for number in range(3)
    ]
    HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="notes.txt", repo_id="user/scenes", repo_type="dataset")
    assert open_data("user/scenes", "test").identity.revision == hub.repository("user/scenes").head != first
    for revision in ("v1", first):
        for name in ("user/scenes", "hf://datasets/user/scenes"):
            assert open_data(f"{name}@{revision}", limit=1).identity == type(data.identity)(
                "user/scenes", "train", first, None, 1
            )


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("user/nothing", "there is no folder user/nothing, and the Hub has no such dataset: .*404"),
        ("user/scenes@nothing", "the Hub has no such dataset: .*404"),
    ],
)
def test_missing_hub_dataset_is_one_line(hub: HubServer, built: Path, place: str, told: str) -> None:
    push(built, "user/scenes", endpoint=hub.endpoint, token=hub.token)
    with pytest.raises(SourceError, match=told) as caught:
        open_data(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["/no/such/folder", "./nothere", "../nothere", "~/nothere", "scenes", "a/b/c", ""])
def test_neither_folder_nor_name_is_reported(place: str) -> None:
    with pytest.raises(SourceError, match=r"nor a dataset on the Hub; give one as user/name\[@revision\]"):
        open_data(place)


def test_file_instead_of_folder_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path / "plain") / "rows.parquet"
    with pytest.raises(SourceError, match=r"rows\.parquet is a file; give the folder that holds it"):
        open_data(str(file))


def test_offline_variable_is_named(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="there is no folder user/scenes; HF_HUB_OFFLINE is set"):
        open_data("user/scenes")


def test_unknown_split_lists_known_splits(built: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has the splits train, test; give one of them, not val"):
        open_data(str(built), "val")
    for split in ("a", "b"):
        imagefolder(tmp_path / "plain" / split)
    (tmp_path / "plain" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: a, path: a/*}\n  - {split: b, path: b/*}\n---\n"
    )
    with pytest.raises(SourceError, match="has the splits a, b; give one of them, not none"):
        open_data(str(tmp_path / "plain"))
    assert open_data(str(tmp_path / "plain"), "b").identity.split == "b"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"picture": ["x"], "text": ["x"], "masks": [[1]]}, "no column image; it has picture, text, masks"),
        ({"image": ["x"], "words": ["x"], "masks": [[1]]}, "no column description or caption or text; it has image"),
        ({"image": ["x"], "text": ["x"]}, "no column objects or masks or mask; it has image, text"),
    ],
)
def test_missing_columns_list_known_columns(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "plain" / "rows.parquet")
    with pytest.raises(SourceError, match=told):
        open_data(str(tmp_path / "plain"))


@pytest.mark.parametrize("content", [None, b"PAR1 not really"])
def test_unloadable_folder_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    if content:
        (folder / "rows.parquet").write_bytes(content)
    with pytest.raises(SourceError, match="plain cannot be loaded: ") as caught:
        open_data(str(folder))
    assert "\n" not in str(caught.value)
