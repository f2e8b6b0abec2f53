"""The Hub source, with the real clients, against the test Hub: downloaded, streamed, and refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.core.errors import AddressError, RecipeError, SourceError, UnusableError
from datasetkit.core.limits import ImageLimits
from datasetkit.core.protocols import SourceContext
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.sources import HubOptions, guess_source
from datasetkit.pipeline.build import build
from datasetkit.sources.hub import HubSource
from datasetkit.sources.hub_files import RepositoryFiles
from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.pipeline.builders import built, make_image
from tests.sources.tables import IMAGE, outcomes, plain_rows, rows_of, scenes, write_rows

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])


def opened(repo: str, wanted: int | None = None, **options: Any) -> HubSource:
    return HubSource(HubOptions(repo=repo, **options), SourceContext(wanted=wanted))


@pytest.fixture(scope="module")
def built_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("hub") / "scenes")


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def put(hub: HubServer, name: str, folder: Path) -> str:
    """Commit all files of a folder; return the hash of the commit."""
    try:
        repository = hub.repository(name)
    except KeyError:
        repository = hub.create(name)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    repository.write(files)
    return repository.head


def plain(hub: HubServer, tmp_path: Path, splits: Sequence[str] = ("train",), rows: int = 5) -> str:
    """Put a dataset without a card on the Hub; return its commit."""
    for number, split in enumerate(splits):
        table = datasets.Dataset.from_list(plain_rows(rows, number * rows), features=datasets.Features(IMAGE))
        (tmp_path / "plain" / "data").mkdir(parents=True, exist_ok=True)
        table.to_parquet(tmp_path / "plain" / "data" / f"{split}-00000-of-00001.parquet")
    return put(hub, "user/plain", tmp_path / "plain")


def recipe(repo: str, **options: Any) -> Recipe:
    names = ("config", "split", "revision", "image_column", "text_column", "id_column", "streaming")
    source = {name: options.pop(name) for name in names if name in options}
    return Recipe.checked({"source": {"name": "hub", "repo": repo, **source}, **options})


@BOTH
def test_built_dataset_is_restored(hub: HubServer, built_scenes: Path, tmp_path: Path, streaming: bool) -> None:
    put(hub, "user/scenes", built_scenes)
    built(recipe("user/scenes", streaming=streaming, part_size=3), tmp_path / "out", workers=3)
    assert rows_of(tmp_path / "out") == rows_of(built_scenes)


@BOTH
def test_plain_rows(hub: HubServer, tmp_path: Path, streaming: bool) -> None:
    commit = plain(hub, tmp_path, ("train", "test"))
    _, found = built(recipe("user/plain", streaming=streaming, limit=7), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["split"] for row in rows.values()].count("train") == 5
    assert len(rows) == 7
    for name, record in found.items():
        split, _, number = name.partition("/")
        place = int(number) + 5 * (split == "test")
        assert record.description == f"a cat number {place}"
        assert record.image.data == make_image(place), "bytes untouched"
        assert record.source.uri == f"hub:user/plain@{commit}/{split}/{number}"


def test_one_split_and_one_revision(hub: HubServer, tmp_path: Path) -> None:
    old = plain(hub, tmp_path, ("train", "test"))
    shutil.rmtree(tmp_path / "plain")
    new = plain(hub, tmp_path, ("train", "test"), rows=2)
    assert old != new
    assert len(opened("user/plain", split="test", revision=old)) == 5
    newest = opened("user/plain", split="test")
    assert (len(newest), newest.read(next(newest.entries())).record.source.uri) == (2, f"hub:user/plain@{new}/test/0")
    assert newest.fingerprint() == opened("user/plain", split="test", revision="main").fingerprint()
    assert newest.fingerprint() != opened("user/plain", split="test", revision=old).fingerprint()


@pytest.mark.parametrize(
    "address", ["hf://datasets/user/plain@{}", "HTTPS://huggingface.co/datasets/user/plain/tree/{}"]
)
def test_url_contains_repository_and_revision(hub: HubServer, tmp_path: Path, address: str) -> None:
    commit = plain(hub, tmp_path)
    options = HubOptions(repo=address.format(commit))
    assert options == HubOptions(repo="user/plain", revision=commit) == guess_source(address.format(commit))
    assert len(opened(address.format("main"), wanted=1)) == len(opened("user/plain", wanted=1))
    with pytest.raises(AddressError, match="names the revision v1, but an option v2"):
        HubOptions(repo=address.format("v1"), revision="v2")
    with pytest.raises(AddressError, match="is a model"):
        HubOptions(repo="hf://user/plain")


def test_command_pins_the_commit(hub: HubServer, tmp_path: Path) -> None:
    commit = plain(hub, tmp_path, ("train", "test"))
    run = CliRunner()
    command = ["build", "hub", "user/plain", "--split", "test", "--streaming", "--limit", "3"]
    done = run.invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert (done.exit_code, "kept 3 (test 3)" in done.stdout) == (0, True), done.output
    published = Manifest.read(tmp_path / "out").recipe
    assert published["source"] | {"revision": commit, "split": "test", "streaming": True} == published["source"]
    assert str(tmp_path) not in json.dumps(published)
    shutil.rmtree(tmp_path / "plain")
    plain(hub, tmp_path, ("train", "test"), rows=1)
    again = ["build", "recipe", str(tmp_path / "out" / "recipe.yaml"), "--out", str(tmp_path / "again")]
    assert run.invoke(app, again).exit_code == 0
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "out")


def test_stream_of_unknown_length_needs_a_limit(hub: HubServer, tmp_path: Path) -> None:
    plain(hub, tmp_path)
    with pytest.raises(SourceError, match=r"does not say how many rows split train has; give --limit"):
        opened("user/plain", streaming=True)
    assert len(opened("user/plain", streaming=True, wanted=3)) == 3
    assert len(opened("user/plain", streaming=True, wanted=100)) == 5, "no row beyond the end is announced"


@pytest.mark.parametrize(("stated", "expected"), [(4, [None] * 4), (7, [None] * 5 + ["missing"] * 2)])
def test_stream_length_comes_from_the_card(
    hub: HubServer, tmp_path: Path, stated: int, expected: list[str | None]
) -> None:
    (tmp_path / "plain").mkdir()
    split = {"name": "train", "num_examples": stated, "num_bytes": 1}
    features = [{"name": "image", "dtype": "image"}, {"name": "text", "dtype": "string"}]
    info = {"features": features, "splits": [split], "download_size": 1, "dataset_size": 1}
    (tmp_path / "plain" / "README.md").write_text(f"---\n{json.dumps({'dataset_info': info})}\n---\n")
    plain(hub, tmp_path)
    found = outcomes(opened("user/plain", streaming=True)).values()
    assert [value if value == "missing" else None for value in found] == expected


def test_streaming_fetches_what_it_reads(hub: HubServer, tmp_path: Path) -> None:
    rows = [row | {"image": {"bytes": row["image"]["bytes"] + bytes(2**18), "path": "x.png"}} for row in plain_rows(40)]
    metadata = datasets.Features(IMAGE).arrow_schema
    for number in range(4):
        part = rows[number * 10 : number * 10 + 10]
        write_rows(tmp_path / "x" / "data" / f"train-0000{number}-of-00004.parquet", part, metadata, row_group_size=5)
    put(hub, "user/plain", tmp_path / "x")
    source = opened("user/plain", streaming=True, wanted=5)
    assert list(outcomes(source).values()) == [f"a cat number {n}" for n in range(5)]
    assert sum(request.sent for request in hub.traffic.requests) < 20 * 2**18


@BOTH
@pytest.mark.parametrize("kind", ["files", "zip"])
def test_images_next_to_the_rows(hub: HubServer, tmp_path: Path, streaming: bool, kind: str) -> None:
    folder = tmp_path / "files" / "train"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(make_image(number))
    rows = [{"file_name": f"{number}.png", "text": f"cat {number}"} for number in range(3)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if kind == "zip":
        shutil.make_archive(str(tmp_path / "zip" / "a"), "zip", folder)
    put(hub, "user/files", tmp_path / kind)
    source = opened("user/files", streaming=streaming, wanted=3)
    readings = [source.read(entry) for entry in source.entries()]
    assert [reading.record.image.data for reading in readings] == [make_image(number) for number in range(3)]
    assert [reading.record.image.name for reading in readings] == ["0.png", "1.png", "2.png"]
    assert {reading.record.description for reading in readings} == {"cat 0", "cat 1", "cat 2"}


@BOTH
def test_row_that_names_a_local_file(hub: HubServer, tmp_path: Path, streaming: bool) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(make_image())
    names = [str(secret), f"file://{secret}", "../secret.png", f"zip://secret.png::{secret}"]
    names += ["hf://datasets/other/repo@main/a.png", f"simplecache::hf://datasets/user/plain@main/{secret}"]
    rows = [{"image": {"bytes": None, "path": name}, "text": "x"} for name in names]
    write_rows(tmp_path / "plain" / "a.parquet", rows, datasets.Features(IMAGE).arrow_schema)
    put(hub, "user/plain", tmp_path / "plain")
    found = outcomes(opened("user/plain", streaming=streaming, wanted=9))
    assert list(found.values()) == ["path_escapes"] * len(names)


def test_damaged_archive_costs_only_its_images(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with zipfile.ZipFile(tmp_path / "plain" / "a.zip", "w") as archive:
        archive.writestr("0.png", make_image())
        archive.writestr("1.png", make_image(1))
    data = (tmp_path / "plain" / "a.zip").read_bytes()
    (tmp_path / "plain" / "a.zip").write_bytes(data.replace(make_image(1), make_image(1)[:-1] + b"?"))
    (tmp_path / "plain" / "b.zip").write_bytes(b"no archive")
    commit = put(hub, "user/plain", tmp_path / "plain")
    place = f"hf://datasets/user/plain@{commit}"
    names = [f"zip://0.png::{place}/a.zip", f"zip://1.png::{place}/a.zip", f"zip://2.png::{place}/a.zip"]
    names += [f"zip://0.png::{place}/b.zip", f"tar://0.png::{place}/b.zip"]
    files = RepositoryFiles("user/plain", commit, ImageLimits())
    found = []
    for name in names:
        try:
            found.append(files.opened({"bytes": None, "path": name})["bytes"])
        except UnusableError as error:
            found.append(error.reason)
    assert found == [make_image(), "unreadable", "missing", "unreadable", "unreadable"]


@pytest.mark.parametrize("name", ["{}/0.png", "zip://0.png::{}/a.zip", "tar://0.png::{}/a.tar"])
def test_refused_image_stops_the_build(hub: HubServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "plain").mkdir()
    with zipfile.ZipFile(tmp_path / "plain" / "a.zip", "w") as archive:
        archive.writestr("0.png", make_image())
    (tmp_path / "plain" / "0.png").write_bytes(make_image())
    shutil.make_archive(str(tmp_path / "plain" / "a"), "tar", tmp_path / "plain", "0.png")
    commit = put(hub, "user/plain", tmp_path / "plain")
    files = RepositoryFiles("user/plain", commit, ImageLimits())
    hub.faults.add(Fault("resolve", "status", times=1000, status=403))
    with pytest.raises(SourceError, match=r"cannot be fetched from the Hub: .*403"):
        files.opened({"bytes": None, "path": name.format(f"hf://datasets/user/plain@{commit}")})


def test_which_files_belong_to_the_repository(hub: HubServer, tmp_path: Path) -> None:
    source = opened("user/plain", revision=plain(hub, tmp_path))
    commit, limits = source._source.commit, source._reader.context.limits
    files = RepositoryFiles("user/plain", commit, limits)
    (cached, *_) = (tmp_path / "hf_home" / "hub").rglob("*.parquet")
    assert files.opened({"bytes": None, "path": str(cached)})["path"] == cached.name
    assert files.opened({"bytes": b"x", "path": "/etc/hostname"})["bytes"] == b"x"
    for name in (
        f"hf://datasets/user/plain@{commit}/../x",
        str(cached.parent / ".." / ".." / ".." / ".." / ".." / "x"),
    ):
        with pytest.raises(ValueError, match="is not a file of the dataset's repository"):
            files.opened({"bytes": None, "path": name})


@pytest.mark.parametrize(
    ("repo", "how", "message"),
    [
        ("user/never", {}, "user/never cannot be read from the Hub: .*404"),
        ("user/plain", {"revision": "v9"}, "user/plain@v9 cannot be read from the Hub: .*"),
        ("user/plain", {"config": "other"}, "'other' not found"),
        ("user/plain", {"split": "dev"}, "dev"),
        ("user/plain", {"text_column": "caption"}, "has no column 'caption' of text; it has image, text"),
    ],
)
def test_unreadable_dataset_is_reported_in_one_line(
    hub: HubServer, tmp_path: Path, repo: str, how: dict[str, str], message: str
) -> None:
    plain(hub, tmp_path)
    with pytest.raises(SourceError, match=message) as caught:
        opened(repo, **how)
    assert "\n" not in str(caught.value)
    assert "hf_test" not in str(caught.value)


def test_folder_with_the_repository_name_is_refused(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(hub, tmp_path)
    (tmp_path / "here" / "user" / "plain").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SourceError, match="the working directory has a folder user/plain"):
        opened("user/plain")


def test_interrupted_stream_stops_the_build_and_resumes(hub: HubServer, tmp_path: Path) -> None:
    plain(hub, tmp_path)
    options = {"streaming": True, "limit": 5, "part_size": 2, "revision": hub.repository("user/plain").head}
    build(recipe("user/plain", **options), RunOptions(out=tmp_path / "whole", workers=1))
    hub.faults.add(Fault("resolve", "status", times=1000, skip=2, status=403))
    with pytest.raises(SourceError) as caught:
        build(recipe("user/plain", **options), RunOptions(out=tmp_path / "out", workers=1))
    assert "hf_test" not in str(caught.value)
    hub.faults.clear()
    built(recipe("user/plain", **options), tmp_path / "out")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


@BOTH
def test_text_not_in_utf8_costs_only_its_row(hub: HubServer, tmp_path: Path, streaming: bool) -> None:
    schema = datasets.Features(IMAGE).arrow_schema
    path = write_rows(tmp_path / "plain" / "a.parquet", plain_rows(5), schema, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"a cat number 3", b"a cat number \xff"))
    put(hub, "user/plain", tmp_path / "plain")
    found = outcomes(opened("user/plain", streaming=streaming, wanted=5))
    assert list(found.values()) == ["a cat number 0", "a cat number 1", "a cat number 2", "bad_row", "a cat number 4"]


@pytest.mark.parametrize("value", [{"repo": "csv"}, {"repo": "../x/y"}, {"repo": "a/b/c"}, {"split": "train[:5]"}])
def test_names_that_datasets_reads_differently(value: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match="pattern"):
        recipe(**{"repo": "user/name", **value})


def test_models_do_not_replace_objects_by_accident(hub: HubServer, built_scenes: Path, tmp_path: Path) -> None:
    put(hub, "user/scenes", built_scenes)
    command = ["build", "hub", "user/scenes", "--preset", "toyworld", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, command)
    assert (refused.exit_code, "add --relabel" in refused.stderr) == (1, True)
