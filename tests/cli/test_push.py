"""``datasetkit push`` for users: output, one-line errors, never the token."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import datasets
import pycocotools.mask
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.filesize import decimal

from datasetkit.cli import app
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_rows
from tests.export.publish.pushing import NAME, build, expected, held, local
from tests.hub.clients import forget, talk_to
from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.processes import command, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built folder; read-only."""
    return build(tmp_path_factory.mktemp("cli push") / "scenes")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        talk_to(server, tmp_path / "home", monkeypatch)
        yield server


def run(hub: HubServer, *arguments: object) -> tuple[int, str, str]:
    forget()
    result = CliRunner().invoke(app, ["push", *map(str, arguments)])
    assert hub.token not in result.output
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
def test_a_push_is_told(hub: HubServer, folder: Path) -> None:
    code, shown, _ = run(hub, folder, NAME, "--private", "--tag", "v1")
    assert code == 0
    count, size = len(local(folder)), decimal(sum(map(len, expected(hub, folder).values())))
    first, second, address = shown.splitlines()
    assert first.startswith(f"sent {count} files of {size}, deleted 0 files; 0 files of 0 bytes were already there")
    assert (
        second
        == f"commit {hub.repository(NAME).head} contains the folder, compared file by file; the card names its address"
    )
    assert address == f"{hub.endpoint}/datasets/{NAME}/tree/v1"
    assert hub.repository(NAME).private
    assert held(hub, "v1") == expected(hub, folder)
    assert "the commit already had the tag" in run(hub, folder, NAME, "--tag", "v1")[1].splitlines()


def test_what_of_the_card_does_not_arrive_is_told(hub: HubServer, folder: Path) -> None:
    hub.create(NAME).write({"README.md": b"---\nlicense: mit\n---\n"})
    for arguments in ((folder, NAME, "--dry-run"), (folder, NAME)):
        shown = run(hub, *arguments)[1]
        assert "keep    license of the card on the Hub; that of the folder differs" in shown.splitlines()
    assert run(hub, folder, NAME, "--dry-run")[1].endswith("are already there. Nothing was sent\n")
    assert "the card was merged with the existing one" in shown


def test_one_file_is_told_of_as_one(hub: HubServer, folder: Path) -> None:
    hub.create(NAME).write({"recipe.yaml": (folder / "recipe.yaml").read_bytes()})
    assert " is already there. Nothing was sent" in run(hub, folder, NAME, "--dry-run")[1]
    assert " was already there\n" in run(hub, folder, NAME)[1]


def test_a_pushed_build_loads_with_every_mask_and_span(hub: HubServer, folder: Path) -> None:
    assert run(hub, folder, NAME)[0] == 0
    loaded = datasets.load_dataset(NAME)
    built = list(iter_rows(folder, Manifest.read(folder)))
    assert set(loaded) == {"train", "test"} == {shard.split for shard, _ in built}
    for split, rows in loaded.items():
        wanted = [row for shard, row in built if shard.split == split]
        plain = rows.cast_column("image", datasets.Image(decode=False))
        assert [row["image"] for row in plain] == [row["image"] for row in wanted]
        for row, one in zip(rows, wanted, strict=True):
            image = Image.open(io.BytesIO(one["image"]["bytes"])).convert("RGB")
            assert row["image"].convert("RGB").tobytes() == image.tobytes()
            assert row["objects"] == one["objects"]
            assert row["phrases"] == one["phrases"]
            for item in row["objects"]:
                mask = pycocotools.mask.decode(item["mask"])
                assert (mask.shape, mask.sum()) == ((row["height"], row["width"]), item["area"])
            for phrase in row["phrases"]:
                assert row["description"][phrase["start"] : phrase["end"]] == phrase["text"]


def test_a_dry_run_is_told(hub: HubServer, folder: Path) -> None:
    code, shown, _ = run(hub, folder, NAME, "--dry-run", "--revision", "next", "--tag", "v1")
    assert code == 0
    lines = shown.splitlines()
    size = decimal(sum(map(len, expected(hub, folder).values())))
    assert lines[:2] == [f"create  repository {NAME}", "create  branch next"]
    assert sum(line.startswith("send    ") for line in lines) == len(local(folder))
    assert "tag     v1" in lines
    assert f"would send {len(local(folder))} files of {size} and delete 0 files in 1 commit;" in lines[-1]
    assert {request.method for request in hub.traffic.requests} == {"GET"}


def test_errors_are_one_line(hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in [
        ((folder, "scenes"), "write it as user/scenes"),
        ((folder, "other/scenes"), "needs the right to write to other/scenes"),
        ((tmp_path, NAME), "has no manifest.json"),
    ]:
        code, shown, errors = run(hub, *arguments)
        assert (code, shown) == (1, "")
        assert errors.splitlines()[-1].startswith("error: ")
        assert message in errors.splitlines()[-1]
    hub.faults.add(Fault("^commit ", "stale"))
    assert "somebody else committed to user/scenes meanwhile" in run(hub, folder, NAME)[2].splitlines()[-1]
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    code, _, errors = run(hub, folder, NAME)
    assert code == 1
    assert "the Hub does not accept the token" in errors
    assert "xxx" not in errors
    monkeypatch.delenv("HF_TOKEN")
    assert "run `hf auth login`, set HF_TOKEN, or give --token" in run(hub, folder, NAME)[2]
    assert run(hub, folder, NAME, "--token", "hf_a\nb")[2] == (
        "error: the token for the Hub contains invalid characters; copy it again\n"
    )


@pytest.mark.parametrize("shown", [(), ("--json",), ("--log-level", "debug")])
def test_a_token_that_is_given_is_used_and_never_shown(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, shown: tuple[str, ...]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.faults.add(Fault("^lfs-put ", "status", status=503))
    assert run(hub, folder, NAME, "--token", hub.token, *shown)[0] == 0  # run() looks for it in the output
    assert held(hub) == expected(hub, folder)
    other = "hf_" + "x" * 34
    for arguments in ((folder, NAME), (folder, NAME, "--adapter")):
        code, *output = run(hub, *arguments, "--token", other, *shown)
        assert (code, other in "".join(output)) == (1, False)


def test_the_title_of_the_commit_can_be_given(hub: HubServer, folder: Path) -> None:
    assert run(hub, folder, NAME, "--commit-message", "Scenes, again")[0] == 0
    assert hub.repository(NAME).at().title == "Scenes, again"


def test_a_pull_request_is_opened_and_main_stays(hub: HubServer, folder: Path) -> None:
    head = hub.create(NAME).head
    assert " in 1 pull request; " in run(hub, folder, NAME, "--create-pr", "--dry-run")[1]
    code, shown, _ = run(hub, folder, NAME, "--create-pr")
    assert (code, shown.splitlines()[-1]) == (0, f"{hub.endpoint}/datasets/{NAME}/discussions/1")
    assert hub.repository(NAME).head == head
    assert held(hub, "refs/pr/1") == expected(hub, folder)
    assert json.loads(run(hub, folder, NAME, "--create-pr", "--json")[1])["pull_request"].endswith("/discussions/2")


def test_a_pull_request_with_a_lost_response_is_not_repeated(hub: HubServer, folder: Path) -> None:
    hub.create(NAME)
    hub.faults.add(Fault("^commit ", "drop"))
    code, _, errors = run(hub, folder, NAME, "--create-pr")
    assert code == 1
    assert "The pull request may exist; see" in errors
    assert sum(request.kind == "commit" for request in hub.traffic.requests) == 1


@pytest.mark.parametrize("options", [("--tag", "v1"), ("--revision", "next"), ()])
def test_what_does_not_go_with_a_pull_request_is_refused(
    hub: HubServer, folder: Path, options: tuple[str, ...]
) -> None:
    code, shown, errors = run(hub, folder, NAME, "--create-pr", *options)
    message = "--revision and --tag do not go with it" if options else "push without --create-pr to create it"
    assert (code, shown, errors.count("\n"), message in errors) == (1, "", 1, True)
    assert NAME not in {name for _, name in hub.state.repositories}


@pytest.mark.slow
def test_a_process_of_its_own_with_faults_shows_no_token(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    hub.faults.add(Fault("^lfs-put ", "status", status=503), Fault("^tag ", "status", status=422))
    done = subprocess.run(
        command("push", folder, NAME, "--tag", "v1", "--debug"),
        env=hub.environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "creating the tag v1: the Hub answered 422" in done.stderr
    assert "%|" not in done.stderr, "no bar of huggingface_hub"
    assert hub.token not in done.stdout + done.stderr
    assert hub.token not in "".join(map(str, local(folder).values()))


def test_ctrl_c_says_how_to_go_on(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    process: list[subprocess.Popen[str]] = []
    hub.faults.add(Fault("^lfs-put ", "call", call=lambda: process[0].send_signal(signal.SIGINT)))
    process.append(start("push", folder, NAME, env=hub.environment(tmp_path / "home")))
    _, errors = process[0].communicate(timeout=120)
    assert process[0].returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted; files already sent are kept.")
    assert "Traceback" not in errors
    assert run(hub, folder, NAME)[0] == 0
    assert held(hub) == expected(hub, folder)
