"""Built folders in an object store: pushed, pushed again, interrupted anywhere, verified, exported and loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import datasetkit as dk
from datasetkit.cli import app
from datasetkit.core.errors import AddressError, BuiltFolderError, OutputError
from datasetkit.core.paths import EXPORT_MARKER, as_place
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_rows
from datasetkit.export.formats.exporting import export_folder
from datasetkit.export.publish.store.dataset import remote_files
from datasetkit.export.publish.store.push import plan, push
from datasetkit.export.verification.verify import verify_files
from tests.buckets import CREDENTIALS, Bucket
from tests.export.publish.pushing import local

pytestmark = pytest.mark.slow

SHARDS = {f"data/train-{n:05d}-of-00003.parquet" for n in range(3)} | {"data/test-00000-of-00001.parquet"}
SECOND = "data/train-00001-of-00003.parquet"


class Cut(BaseException):
    """Ends a push like a kill, as nothing catches it."""


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in result.output
    return result.exit_code, result.stdout, result.stderr.splitlines()[-1] if result.stderr else ""


def remote(address: str) -> RemotePath:
    place = as_place(address)
    assert isinstance(place, RemotePath)
    return place


def cut_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the next push before its n-th write."""
    done = 0

    def watched(name: str) -> Callable[..., object]:
        method = getattr(RemotePath, name)

        def call(*arguments: object) -> object:
            nonlocal done
            done += 1
            if done == moment:
                raise Cut
            return method(*arguments)

        return call

    for name in ("send", "write_bytes", "remove"):
        monkeypatch.setattr(RemotePath, name, watched(name))


def test_a_push_holds_the_folder_and_comes_again_for_nothing(bucket: Bucket, scenes: Path) -> None:
    address = bucket.address("deep/scenes")
    code, shown, _ = run("push", scenes, address)
    count = len(local(scenes))
    assert code == 0
    assert shown.splitlines()[0].startswith(f"sent {count} files of ")
    assert bucket.contents("deep/scenes") == local(scenes)
    written = bucket.written()
    code, shown, _ = run("push", scenes, address)
    assert (code, shown.splitlines()[0].startswith("sent 0 files of 0 bytes, deleted 0 files; ")) == (0, True)
    assert bucket.written() == written


def test_a_dry_run_sends_nothing(bucket: Bucket, scenes: Path) -> None:
    code, shown, _ = run("push", scenes, bucket.address("scenes"), "--dry-run")
    lines = shown.splitlines()
    assert code == 0
    assert {line.split()[1] for line in lines[:-1]} == local(scenes).keys()
    assert lines[-1].endswith("are already there. Nothing was sent")
    assert bucket.contents() == {}


def test_a_push_deletes_only_files_of_the_last_push(bucket: Bucket, scenes: Path, fewer_scenes: Path) -> None:
    mine = {"scenes/notes.txt": b"mine", "scenes/data/extra.bin": b"mine", "other.parquet": b"mine"}
    for key, data in mine.items():
        bucket.write(key, data)
    push(scenes, remote(bucket.address("scenes")))
    assert (
        "delete  data/train-00002-of-00003.parquet"
        in run("push", fewer_scenes, bucket.address("scenes"), "--dry-run")[1]
    )
    push(fewer_scenes, remote(bucket.address("scenes")))
    expected = {f"scenes/{name}": data for name, data in local(fewer_scenes).items()} | mine
    found = bucket.contents()
    assert {name: data for name, data in found.items() if not name.startswith("scenes/assets/")} == {
        name: data for name, data in expected.items() if not name.startswith("scenes/assets/")
    }


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.8, 1])
def test_a_push_that_is_cut_anywhere_is_mended_by_the_next(
    bucket: Bucket, scenes: Path, fewer_scenes: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    place = remote(bucket.address("scenes"))
    push(fewer_scenes, place)
    with monkeypatch.context() as patched:
        planned = plan(scenes, place)
        journal_writes = 2
        writes = len(planned.sent) + len(planned.deletions) + journal_writes
        cut_at(1 + round(share * (writes - 1)), patched)
        with pytest.raises(Cut):
            push(scenes, place)
    shards = {key: when for key, when in bucket.written("scenes/data").items() if key[7:] in SHARDS}
    done = [key for key in shards if bucket.contents(key)[""] == local(scenes)[key[7:]]]
    sent = [file.path for file in push(scenes, place).sent]
    assert not {key[7:] for key in done}.intersection(sent), "a shard that was there was sent again"
    held = {name for name in bucket.contents("scenes") if name.startswith("data/")}
    assert held == SHARDS
    assert bucket.contents("scenes") == local(scenes)


def test_leftovers_of_an_interrupted_push_are_deleted(
    bucket: Bucket, scenes: Path, fewer_scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = remote(bucket.address("scenes"))
    with monkeypatch.context() as patched:
        cut_at(5, patched)
        with pytest.raises(Cut):
            push(scenes, place)
    assert "manifest.json" not in bucket.contents("scenes")
    assert len([name for name in bucket.contents("scenes") if name in SHARDS]) == 3
    push(fewer_scenes, place)
    assert bucket.contents("scenes") == local(fewer_scenes)


def test_a_killed_process_is_followed_by_one_that_sends_the_rest(bucket: Bucket, scenes: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from datasetkit.core.remote import RemotePath\n"
        "send = RemotePath.send\n"
        "def killed(self, *arguments):\n"
        f"    os.kill(os.getpid(), signal.SIGKILL) if self.name == {Path(SECOND).name!r} else send(self, *arguments)\n"
        "RemotePath.send = killed\n"
        "from datasetkit.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "push", str(scenes), bucket.address("scenes")]
    done = subprocess.run(
        command, env={**os.environ, **bucket.environment}, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == -9, done.stderr
    held = bucket.contents("scenes").keys()
    assert len(held & SHARDS) == 1
    code, shown, _ = run("push", scenes, bucket.address("scenes"))
    assert (code, f"sent {len(local(scenes)) - 1} files of " in shown) == (0, True)
    assert bucket.contents("scenes") == local(scenes)


def test_a_store_that_keeps_no_digests_is_known_by_its_manifest(
    scenes: Path, fewer_scenes: Path, request: pytest.FixtureRequest
) -> None:
    place = remote(f"memory://{request.node.name}/scenes")
    push(fewer_scenes, place)
    push(scenes, place)
    assert set(place.files()) == set(local(scenes))
    assert not SHARDS.intersection(file.path for file in push(scenes, place).sent)
    with remote_files(place) as files:
        assert list(verify_files(files)) == []


def test_a_shard_that_somebody_changed_is_replaced_by_name_alone(bucket: Bucket, scenes: Path) -> None:
    place = remote(bucket.address("scenes"))
    push(scenes, place)
    data = bytearray(local(scenes)[SECOND])
    data[100] ^= 1
    bucket.write(f"scenes/{SECOND}", bytes(data))
    assert plan(scenes, place).foreign.refused == (SECOND,)
    with pytest.raises(OutputError, match=f"{SECOND}, which datasetkit did not write or which changed since"):
        push(scenes, place)
    assert bucket.contents(f"scenes/{SECOND}")[""] == bytes(data)
    assert [file.path for file in push(scenes, place, replace=[SECOND]).sent] == [SECOND]
    assert bucket.contents("scenes") == local(scenes)


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        ("data/train-extra.parquet", b"x", "which datasetkit did not write and load_dataset would read"),
        ("manifest.json", b"{}", "to replace: --replace manifest.json"),
        ("README.md", b"# Theirs", "to replace: --replace README.md"),
        (".datasetkit-push.json", b"[]", "is not a journal of datasetkit"),
    ],
)
def test_what_would_mix_is_refused(bucket: Bucket, scenes: Path, key: str, data: bytes, message: str) -> None:
    bucket.write(f"scenes/{key}", data)
    code, _, error = run("push", scenes, bucket.address("scenes"))
    assert (code, message in error) == (1, True), error
    assert bucket.contents("scenes") == {key: data}


def test_files_of_others_are_replaced_by_name_alone(bucket: Bucket, scenes: Path) -> None:
    mine = {"scenes/README.md": b"# Mine", "scenes/assets/samples.jpg": b"mine", "scenes/notes.md": b"mine"}
    for key, data in mine.items():
        bucket.write(key, data)
    address = bucket.address("scenes")
    shown = run("push", scenes, address, "--dry-run")[1].splitlines()
    assert "the push would be refused; to replace: --replace README.md --replace assets/samples.jpg" in shown
    code, _, error = run("push", scenes, address)
    assert (code, "has README.md, assets/samples.jpg, which datasetkit did not write" in error) == (1, True)
    assert bucket.contents() == mine
    shown = run("push", scenes, address, "--replace", "README.md", "--replace", "assets/samples.jpg")[1].splitlines()
    assert shown[1:3] == [
        f"replace {name}, which datasetkit did not write" for name in ("README.md", "assets/samples.jpg")
    ]
    assert bucket.contents("scenes") == local(scenes) | {"notes.md": b"mine"}
    bucket.write("scenes/README.md", b"# Changed since")
    assert plan(scenes, remote(address)).foreign.refused == ("README.md",)


def test_an_export_replaces_nothing_of_others(bucket: Bucket, scenes: Path) -> None:
    address = bucket.address("coco")
    assert run("export", scenes, address, "--to", "coco", "--split", "test")[0] == 0
    bucket.write("coco/train.json", b"mine")
    name = next(key for key in bucket.contents("coco") if key.endswith(".json") and not key.startswith("."))
    bucket.write(f"coco/{name}", b"mine")
    code, _, error = run("export", scenes, address, "--to", "coco", "--split", "test", "--overwrite")
    assert (code, f"contains {name}, which no export wrote" in error) == (1, True), error
    assert bucket.contents(f"coco/{name}")[""] == b"mine"


def test_verify_finds_a_flipped_byte_and_leaves_nothing(
    bucket: Bucket, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    address = bucket.address("scenes")
    push(scenes, remote(address))
    assert run("verify", address) == (0, f"{address} is sound\n", "")
    data = bytearray(local(scenes)[SECOND])
    data[data.index(b"IDAT") + 40] ^= 1
    bucket.write(f"scenes/{SECOND}", bytes(data))
    code, shown, error = run("verify", address)
    assert (code, shown.endswith(f" in {address}\n"), error) == (1, True, "")
    assert shown.startswith(f"{SECOND}: has {len(data):,} bytes of sha256 ")
    bucket.delete("scenes/ledger.jsonl")
    assert f"'{address}/ledger.jsonl'" in run("verify", address)[1]
    assert not list(tmp_path.iterdir())


def test_an_export_is_the_one_that_is_made_here(bucket: Bucket, scenes: Path, tmp_path: Path) -> None:
    address = bucket.address("exports/coco")
    export_folder(scenes, "coco", tmp_path / "coco")
    here = local(tmp_path / "coco")
    code, shown, _ = run("export", scenes, address, "--to", "coco")
    assert (code, shown.endswith(f"wrote        {address}\n")) == (0, True)
    there = bucket.contents("exports/coco")
    assert {**there, EXPORT_MARKER: b""} == {**here, EXPORT_MARKER: b""}
    assert set(json.loads(there[EXPORT_MARKER])["files"]) == here.keys()
    bucket.write("exports/coco/mine.txt", b"mine")
    assert "is not empty; give another DEST, or --overwrite" in run("export", scenes, address, "--to", "yolo-seg")[2]
    assert run("export", scenes, address, "--to", "yolo-seg", "--overwrite")[0] == 0
    export_folder(scenes, "yolo-seg", tmp_path / "yolo")
    assert bucket.contents("exports/coco").keys() == {*local(tmp_path / "yolo"), "mine.txt"}
    bucket.write("strange/mine.txt", b"mine")
    arguments = ("export", scenes, bucket.address("strange"), "--to", "coco", "--overwrite")
    assert "contains something else than an export" in run(*arguments)[2]


def test_an_export_that_is_cut_short_is_made_again(
    bucket: Bucket, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        cut_at(6, patched)
        with pytest.raises(Cut):
            CliRunner().invoke(
                app, ["export", str(scenes), bucket.address("x"), "--to", "coco"], catch_exceptions=False
            )
    assert EXPORT_MARKER not in bucket.contents("x")
    assert run("export", scenes, bucket.address("x"), "--to", "webdataset")[0] == 0
    export_folder(scenes, "webdataset", tmp_path / "here")
    assert bucket.contents("x").keys() == local(tmp_path / "here").keys()


@pytest.mark.parametrize("streaming", [False, True])
def test_load_gives_the_rows(
    bucket: Bucket, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", str(tmp_path / "downloads"))
    push(scenes, remote(bucket.address("scenes")))
    rows = list(dk.load(bucket.address("scenes"), split="train", streaming=streaming))
    expected = [row for shard, row in iter_rows(scenes, Manifest.read(scenes)) if shard.split == "train"]
    assert [row["record_id"] for row in rows] == [row["record_id"] for row in expected]
    assert [row["objects"] for row in rows] == [row["objects"] for row in expected]
    assert dk.masks(rows[0]).shape == (len(rows[0]["objects"]), 24, 32)


@pytest.mark.parametrize("path", ["../other/data/train-00000-of-00001.parquet", "data/x::file:///etc/passwd", 7])
def test_load_opens_no_name_that_is_none_of_a_shard(bucket: Bucket, path: object) -> None:
    bucket.write("scenes/manifest.json", json.dumps({"parts": [{"shards": [{"path": path}]}]}).encode())
    with pytest.raises(BuiltFolderError, match=r"scenes/manifest\.json (lists|is not a manifest)"):
        dk.load(bucket.address("scenes"))
    with pytest.raises(AddressError, match="revision 'v1' is for datasets on the Hub"):
        dk.load(bucket.address("scenes"), revision="v1")
    with pytest.raises(BuiltFolderError, match=r"nothing/manifest\.json does not exist"):
        dk.load(bucket.address("nothing"))


def test_errors_are_one_line(bucket: Bucket, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    address = bucket.address("scenes")
    for arguments, message in [
        (("push", scenes, "s3://no-such-bucket/x"), "error: s3://no-such-bucket/x: does not exist"),
        (("push", scenes, address, "--tag", "v1"), "are for the Hub"),
        (("push", scenes, address, "--private"), "are for the Hub"),
        (("push", scenes, address, "--revision", "main"), "are for the Hub"),
        (
            ("push", scenes, f"s3://key:{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}@bucket/x"),
            "contains what may be a secret",
        ),
        (("push", tmp_path, address), "has no manifest.json"),
        (("verify", address), f"there is nothing at {address}"),
        (("verify", "s3://no-such-bucket/x"), "error: s3://no-such-bucket/x: does not exist"),
        (("export", scenes, "s3://no-such-bucket/x", "--to", "coco"), "error: s3://no-such-bucket/x: does not exist"),
        (("build", "folder", address, "--out", out), f"error: {address} is not a folder"),
        (
            ("build", "parquet", f"{address}/x.parquet", "--out", out),
            f"error: {address}/x.parquet is neither a file nor",
        ),
        (("build", "webdataset", f"{address}/x-{{0..1}}.tar", "--out", out), f"error: {address}/x-0.tar is neither a"),
        (
            ("build", "folder", "s4://bucket/x", "--out", out),
            "s4:// is not allowed; give a path, or a URI of abfs",
        ),
        (("push", scenes, "ftp://host/x"), "ftp:// is not allowed"),
        (("push", scenes, "https://example.com/x"), "cannot be written to; give a URI of abfs"),
        (("push", scenes, "s3:/bucket/x"), "did you mean s3://bucket/x?"),
        (("stats", address), f"{address} is not a folder on this machine; only verify and push read remote datasets"),
        (("export", scenes, "hf://datasets/user/x", "--to", "coco"), "to which only `datasetkit push FOLDER"),
        (
            ("push", scenes, address, "--replace", "x"),
            "--replace x does not name a pushed file; these are README.md, assets/",
        ),
        (("build", "folder", scenes, "--out", "https://example.com/x"), "cannot be written to; give a URI of abfs"),
        (("build", "folder", scenes, "--out", "hf://datasets/user/x"), "to which only `datasetkit push FOLDER"),
        (("push", address, "s3://other/x"), "is pushed to the Hub only, not to s3://other/x"),
    ]:
        code, shown, error = run(*arguments)
        assert (code, shown) == (1, ""), arguments
        assert error.startswith("error: ")
        assert message in error
    assert not out.exists()
    assert bucket.contents() == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials; set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint URL"),
    ],
    ids=["credentials", "endpoint"],
)
def test_a_store_that_cannot_be_asked_is_one_line(
    bucket: Bucket, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    address = bucket.address("x")
    environment = {**os.environ, **bucket.environment, "AWS_MAX_ATTEMPTS": "1", **change}
    program = "from datasetkit.cli import main; main()"
    command = [sys.executable, "-c", program, "build", "folder", address, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command,
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {address}: {message}")
    assert done.stderr.count("\n") == 1


def test_without_the_package_the_command_is_told() -> None:
    program = "import sys; sys.modules['s3fs'] = None; from datasetkit.core.paths import as_place; as_place('s3://b/x').stat()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    error = done.stderr.splitlines()[-1]
    assert error.endswith(": s3://b/x needs a package that is not installed; run: pip install 'datasetkit[s3]'")
