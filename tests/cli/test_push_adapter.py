"""``datasetkit push --adapter`` for users: output, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from click.testing import CliRunner
from rich.filesize import decimal

from datasetkit.cli import app
from tests.export.publish.hub.adapters import MODEL, NAMES, base_model, held, logits, write_adapter
from tests.hub.clients import forget
from tests.hub.server import HubServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli push adapter") / "adapter"
    write_adapter(folder)
    return folder


def run(hub: HubServer, *arguments: object) -> tuple[int, str, str]:
    forget()
    result = CliRunner().invoke(app, ["push", *map(str, arguments)])
    assert hub.token not in result.output
    return result.exit_code, result.stdout, result.stderr


def test_a_push_is_told(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    code, shown, _ = run(hub, "--adapter", folder, MODEL, "--private", "--tag", "v1")
    assert code == 0
    size = decimal(sum(map(len, held(hub).values())))
    repository = hub.repository(MODEL, "model")
    assert shown.splitlines() == [
        f"sent 4 files of {size}, deleted 0 files; 0 files of 0 bytes were already there",
        "not published: 3 other files of the folder (checkpoint-1/adapter_model.safetensors, log.txt, optimizer.pt)",
        f"commit {repository.head} contains the folder, compared file by file; the card is that of the folder",
        f"{hub.endpoint}/{MODEL}/tree/v1",
    ]
    assert repository.private
    assert held(hub, "v1").keys() == NAMES
    assert (MODEL in shown, hub.state.repositories.keys()) == (True, {("model", MODEL)})
    loaded = peft.PeftModel.from_pretrained(base_model(), MODEL, revision="v1").eval()
    assert torch.equal(logits(loaded), logits(peft.PeftModel.from_pretrained(base_model(), folder).eval()))


def test_a_dry_run_is_told(hub: HubServer, folder: Path) -> None:
    code, shown, _ = run(hub, folder, MODEL, "--adapter", "--dry-run", "--tag", "v1")
    assert code == 0
    first, *sends, tag, others, unknown, last = shown.splitlines()
    assert (first, tag) == (f"create  repository {MODEL}", "tag     v1")
    assert {line.split()[1] for line in sends} == NAMES
    assert others.startswith("not published: 3 other files of the folder ")
    assert unknown == f"unknown: whether {MODEL} exists and is private: it is not visible"
    assert last.startswith("would send 4 files of ")
    assert last.endswith("Nothing was sent")
    assert {request.method for request in hub.traffic.requests} == {"GET"}


def test_errors_are_one_line(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    for arguments, message in [
        ((folder, "adapter"), "write it as user/adapter"),
        ((folder, "other/adapter"), "needs the right to write to other/adapter"),
        ((tmp_path, MODEL), "has no adapter_model.safetensors and no adapter_config.json and no adapter.json and"),
        ((folder, "s3://bucket/adapter"), "--adapter is for the Hub; s3://bucket/adapter accepts datasets only"),
    ]:
        code, shown, errors = run(hub, *arguments, "--adapter")
        assert (code, shown) == (1, "")
        assert errors.splitlines()[-1].startswith("error: ")
        assert message in errors.splitlines()[-1]
    code, _, errors = run(hub, folder, MODEL)
    assert (code, errors.count("\n")) == (1, 1)
    assert "has no manifest.json" in errors
