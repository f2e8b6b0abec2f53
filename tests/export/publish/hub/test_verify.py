"""Verification of published datasets: the same faults as in a folder, with nothing left on this disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from datasetkit.cli import app
from datasetkit.core.errors import HubError
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.export.publish.hub import calls
from datasetkit.export.publish.hub import dataset as hub_dataset
from datasetkit.export.publish.hub.dataset import HubFiles, published_files
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from tests.export.folders import Row, refit
from tests.export.publish.pushing import HASTY, NAME, local, push_to
from tests.hub.clients import forget
from tests.hub.faults import Fault
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow

SECOND = "data/train-00001-of-00003.parquet"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def published(hub: HubServer, scenes: Path, temporary: Path) -> HubServer:
    """A Hub with a sound dataset, tagged v1."""
    push_to(hub, scenes, tag="v1")
    assert not list(temporary.iterdir())
    return hub


def on_disk(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def found(hub: HubServer, revision: str | None = None) -> list[tuple[str, str]]:
    with published_files(NAME, revision, endpoint=hub.endpoint, token=hub.token, patience=HASTY) as files:
        return [(fault.where, fault.what) for fault in verify_files(files)]


def run(*arguments: str) -> tuple[int, str, str]:
    forget()
    result = CliRunner().invoke(app, ["verify", *arguments])
    return result.exit_code, result.stdout, result.stderr


def commit(hub: HubServer, files: dict[str, bytes], **options: object) -> str:
    return hub.repository(NAME).write(files, **options)  # type: ignore[arg-type]


def spoil(folder: Path, path: str, change: Callable[[list[Row]], None]) -> None:
    """Change rows of a shard, and update its size and hash in the manifest."""
    rows = pq.read_table(folder / path).to_pylist()
    change(rows)
    with ShardWriter(folder / path, overlay=True) as writer:
        for row in rows:
            writer.write(row)
    refit(folder)


def test_a_pushed_dataset_is_sound_and_leaves_nothing(published: HubServer, temporary: Path, tmp_path: Path) -> None:
    before = on_disk(tmp_path)
    assert run(NAME) == (0, f"{NAME} is sound\n", "")
    assert on_disk(tmp_path) == before
    assert not list(temporary.iterdir())


def test_one_shard_at_a_time_is_on_the_disk(
    published: HubServer, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, seen = HubFiles.opened, []

    def watched(files: HubFiles, name: str) -> object:
        seen.append(sum(path.endswith(".parquet") for path in on_disk(temporary)))
        return opened(files, name)

    monkeypatch.setattr(HubFiles, "opened", watched)
    with published_files(NAME, endpoint=published.endpoint, token=published.token) as files:
        for _ in verify_files(files):
            pass
        assert not any(path.endswith(".parquet") for path in on_disk(temporary))
        assert "manifest.json" in {Path(path).name for path in on_disk(temporary)}
    assert seen == [0, 0, 0, 0]
    assert not list(temporary.iterdir())


def test_a_flipped_bit(published: HubServer, scenes: Path, temporary: Path) -> None:
    data = bytearray((scenes / SECOND).read_bytes())
    data[data.index(b"IDAT") + 40] ^= 1
    commit(published, {SECOND: bytes(data)})
    code, shown, errors = run(NAME)
    assert (code, errors) == (1, "")
    assert shown.startswith(f"{SECOND}: has {len(data):,} bytes of sha256 ")
    assert shown.endswith(f" in {NAME}\n")
    assert not list(temporary.iterdir())


def test_a_shard_that_is_not_parquet_names_no_temporary_folder(published: HubServer, temporary: Path) -> None:
    commit(published, {SECOND: b"nothing"})
    faults = [what for where, what in found(published) if where == SECOND]
    assert "cannot be read as Parquet" in faults[1]
    assert str(temporary) not in " ".join(faults)


def test_a_wrong_count_in_the_card(published: HubServer, scenes: Path) -> None:
    card = (scenes / "README.md").read_text()
    assert "num_examples: 6" in card
    commit(published, {"README.md": card.replace("num_examples: 6", "num_examples: 7").encode()})
    assert found(published) == [
        ("README.md", "has num_examples {'train': 7, 'test': 2}; the shards have {'train': 6, 'test': 2}")
    ]


def test_a_mask_of_another_object_with_fitting_hashes(published: HubServer, own_scenes: Path) -> None:
    def swap(rows: list[Row]) -> None:
        first, second = rows[0]["objects"][:2]
        first["mask"], second["mask"] = second["mask"], first["mask"]

    spoil(own_scenes, SECOND, swap)
    commit(published, local(own_scenes))
    faults = found(published)
    assert faults == [(fault.where, fault.what) for fault in verify_files(FolderFiles(own_scenes))]
    assert {where for where, _ in faults} == {f"{SECOND} row 0"}
    assert faults[0][1] == "object 0 has area 64; its mask has 54 px"


def test_what_is_missing_or_too_much(published: HubServer) -> None:
    extra = "data/train-extra.parquet"
    mine = {"data/notes.txt": b"", "notes/more.parquet": b"x", "photo.png": b"x"}
    commit(published, mine)
    assert found(published) == []
    commit(published, {extra: b"x"}, delete=[SECOND, "assets/samples.jpg"])
    faults = dict(found(published))
    assert faults[extra].startswith("is not in the manifest")
    assert faults[SECOND] == "is missing"
    assert set(faults) == {extra, SECOND, "README.md"}
    assert ("README.md", "shows assets/samples.jpg, which is missing") in found(published)
    commit(published, {}, delete=["ledger.jsonl"])
    (ledger,) = [what for where, what in found(published) if where == "ledger.jsonl"]
    assert ledger == f"cannot be read: [Errno 2] No such file or directory: '{NAME}/ledger.jsonl'"
    commit(published, {}, delete=["manifest.json"])
    assert found(published) == [
        ("manifest.json", f"{NAME} has no manifest.json; give a folder that `datasetkit build` finished")
    ]


def test_an_older_revision(published: HubServer) -> None:
    commit(published, {"README.md": b"nothing"})
    assert run(NAME)[0] == 1
    assert run(f"{NAME}@v1") == (0, f"{NAME}@v1 is sound\n", "")
    assert found(published, published.repository(NAME).tags["v1"]) == []


def test_the_commit_of_the_beginning_is_read_throughout(published: HubServer) -> None:
    with published_files(NAME, endpoint=published.endpoint, token=published.token) as files:
        commit(published, {"README.md": b"nothing"}, delete=[SECOND])
        assert list(verify_files(files)) == []


def test_a_public_dataset_needs_no_token(published: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert run(NAME)[0] == 0
    assert run("user/nothing")[2].count("\n") == 1


def test_a_read_that_breaks_off_is_made_again(published: HubServer) -> None:
    fault = Fault(f"GET .*{SECOND}", "truncate", after_bytes=100)
    published.faults.add(fault)
    assert found(published) == []
    assert published.faults.met(fault) == 1


@pytest.mark.parametrize("name", ["user/nothing", f"{NAME}@v9", "hf://datasets/user/a"])
def test_what_is_not_there_is_one_line(published: HubServer, name: str, temporary: Path) -> None:
    code, shown, errors = run(name)
    assert (code, shown) == (1, "")
    name = name.removeprefix("hf://datasets/")
    assert errors.startswith(f"error: {name} is not a folder; ")
    assert errors.count("\n") == 1
    assert name in errors.split("; ")[1]
    assert published.token not in errors
    assert not list(temporary.iterdir())


def test_no_network_is_one_line(hub: HubServer, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.Patience, "wait_s", lambda *_: 0.0)
    hub.__exit__(None, None, None)
    code, shown, errors = run(NAME)
    assert (code, shown) == (1, "")
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: {NAME} is not a folder; looking for {NAME}: the Hub cannot be reached")
    assert last.endswith("(tried 5 times); run the same command again later")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert run(NAME) == (
        1,
        "",
        f"error: {NAME} is not a folder; HF_HUB_OFFLINE is set, so the Hub cannot be reached; unset it\n",
    )
    assert not list(temporary.iterdir())


def test_a_hub_that_stops_to_answer_leaves_nothing(published: HubServer, temporary: Path) -> None:
    published.faults.add(Fault(f"GET .*{SECOND}", "status", status=503, times=99))
    with pytest.raises(HubError, match=rf"reading {SECOND}: the Hub answered 503 .*; run the same command again later"):
        found(published)
    assert not list(temporary.iterdir())


def test_a_folder_goes_before_the_hub(hub: HubServer, own_scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_scenes.parent / "user").mkdir()
    own_scenes.rename(own_scenes.parent / NAME)
    monkeypatch.chdir(own_scenes.parent)
    assert run(NAME) == (0, f"{NAME} is sound\n", "")
    assert not hub.traffic.requests


@pytest.mark.parametrize("name", ["nowhere", "../nowhere", "./no/where", "/no/where", "a b/c"])
def test_what_is_no_name_on_the_hub_is_no_folder(hub: HubServer, name: str) -> None:
    code, shown, errors = run(name)
    assert (code, shown) == (1, "")
    assert "is not a folder; give one that `datasetkit build` wrote" in errors
    assert not hub.traffic.requests


@pytest.mark.parametrize("name", ["README.md", "manifest.json", "statistics.json"])
def test_a_file_too_large_for_a_build_is_not_downloaded(
    published: HubServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    repository = published.repository(NAME)
    repository.write({name: b" " * 200_000, "ledger.jsonl": b" " * 200_000})
    monkeypatch.setattr(hub_dataset, "_MOST_PAPER_BYTES", 100_000)
    with pytest.raises(
        HubError, match=rf"{name} has 200,000 bytes, more than any build writes; at most 100,000 are read"
    ):
        found(published)
