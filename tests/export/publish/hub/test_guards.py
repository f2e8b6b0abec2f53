"""What a push never does: replace or delete foreign files, or publish files that were not requested."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import datasetkit as dk
from datasetkit.cli import app
from datasetkit.core.errors import AddressError, BuiltFolderError, HubError, OutputError
from datasetkit.export.card.parts import PUSH_LINE
from datasetkit.export.publish.files import local_file
from datasetkit.export.publish.hub.adapter import Adapter
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Plan
from tests.export.publish.hub.adapters import MODEL, write_adapter
from tests.export.publish.pushing import HASTY, NAME, build, expected, held, local, push_to
from tests.hub.clients import forget
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow

THEIRS = {
    "recipe.yaml": b"bread: 500 g\n",
    "statistics.json": b"{}",
    "ledger.jsonl": b"debts\n",
    "assets/samples.jpg": b"\xff\xd8theirs",
    "data/train-00000-of-00003.parquet": b"PAR1\0",
    "notes.md": b"mine",
}
SPELLINGS = [
    "{name}",
    "{name}@main",
    "datasets/{name}",
    "hf://datasets/{name}",
    "HF://datasets/{name}/",
    "hf://datasets/{name}@main",
    "https://huggingface.co/datasets/{name}",
    "http://www.huggingface.co/datasets/{name}/",
    "https://hf.co/datasets/{name}/tree/main",
    "{endpoint}/datasets/{name}",
    "{endpoint}/datasets/{name}/tree/main",
]
REFUSED = [
    "hf://{name}",
    "https://huggingface.co/{name}",
    "{endpoint}/{name}",
    "hf://datasets/{name}/data",
    "https://huggingface.co/datasets/{name}/blob/main/README.md",
    "hf://spaces/{name}",
    "hf:/datasets/{name}",
    "https://example.com/datasets/{name}",
    "zip::hf://datasets/{name}",
    "github://{name}",
]


def run(*arguments: object) -> tuple[int, str, str]:
    forget()
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def planned(hub: HubServer, folder: Path, **options: object) -> Plan:
    return push_to(hub, folder, dry_run=True, **options)  # type: ignore[return-value]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_foreign_repository_keeps_its_files_in_any_spelling(hub: HubServer, scenes: Path, spelling: str) -> None:
    repository = hub.create(NAME)
    repository.write({**THEIRS, "README.md": b"# Theirs\n"})
    head, address = repository.head, spelling.format(name=NAME, endpoint=hub.endpoint)
    code, shown, errors = run("push", scenes, address)
    assert (code, shown, errors.count("\n")) == (1, "", 1)
    assert "user/scenes has data/train-00000-of-00003.parquet, " in errors
    assert "--replace ledger.jsonl" in errors
    assert repository.head == head
    options = [text for name in THEIRS if name != "notes.md" for text in ("--replace", name)]
    code, shown, _ = run("push", scenes, address, *options)
    assert (code, "replace ledger.jsonl, which datasetkit did not write" in shown) == (0, True)
    assert held(hub).keys() == local(scenes).keys() | {"notes.md"}
    assert held(hub)["notes.md"] == b"mine"
    assert b"# Theirs" in held(hub)["README.md"]
    assert len(repository.history()) == 3


@pytest.mark.parametrize("spelling", REFUSED)
def test_an_invalid_name_is_one_line_without_any_request(hub: HubServer, scenes: Path, spelling: str) -> None:
    for command in (("push", scenes), ("export", scenes)):
        address = spelling.format(name=NAME, endpoint=hub.endpoint)
        code, shown, errors = run(*command, address, *(["--to", "coco"] if "export" in command else []))
        assert (code, shown, errors.count("\n")) == (1, "", 1)
        assert errors.startswith("error: ")
    assert not hub.traffic.requests


def test_every_door_reads_the_same_address(hub: HubServer, scenes: Path) -> None:
    commit = push_to(hub, scenes, tag="v1").commit
    push_to(hub, scenes, commit_message="Again")
    for address in (f"{NAME}@v1", f"hf://datasets/{NAME}@v1", f"{hub.endpoint}/datasets/{NAME}/tree/{commit}"):
        assert dk.open(address).split_rows == {"train": 6, "test": 2}
        assert len(dk.load(address, split="test")) == 2
    assert run("verify", f"HF://datasets/{NAME}@v1") == (0, f"{NAME}@v1 is sound\n", "")
    for read in (dk.open, dk.load):
        with pytest.raises(AddressError, match="is a model"):
            read(f"hf://{NAME}")
    with pytest.raises(AddressError, match="names the revision v1, but an option v2"):
        dk.load(f"{NAME}@v1", revision="v2")


def test_revisions_of_address_and_option_agree_or_contradict(hub: HubServer, scenes: Path) -> None:
    assert push_to(hub, scenes).sent_files
    address = f"hf://datasets/{NAME}@next"
    for options in ((), ("--revision", "next")):
        assert run("push", scenes, address, *options)[1].splitlines()[-1].endswith("/tree/next")
    assert "names the revision next, but an option main" in run("push", scenes, address, "--revision", "main")[2]


def test_a_dry_run_names_what_would_be_refused_and_how_it_goes(hub: HubServer, scenes: Path) -> None:
    hub.create(NAME).write(THEIRS)
    found = planned(hub, scenes)
    assert set(found.foreign.refused) == THEIRS.keys() - {"notes.md"}
    code, shown, _ = run("push", scenes, NAME, "--dry-run", "--replace", "recipe.yaml")
    assert code == 0
    lines = shown.splitlines()
    assert "replace recipe.yaml, which datasetkit did not write" in lines
    assert "refuse  ledger.jsonl, which datasetkit did not write or which changed since" in lines
    [how] = [line for line in lines if line.startswith("the push would be refused; to replace: ")]
    assert sorted(how.split()[-8::2]) == ["--replace"] * 4
    assert {request.method for request in hub.traffic.requests} == {"GET"}


def test_equal_bytes_are_nobody_s_loss(hub: HubServer, scenes: Path) -> None:
    hub.create(NAME).write({name: data for name, data in local(scenes).items() if name != "README.md"})
    assert push_to(hub, scenes).sent_files == 1
    assert set(held(hub)) == set(local(scenes))


def test_a_replace_that_names_nothing_is_an_error(hub: HubServer, scenes: Path) -> None:
    with pytest.raises(OutputError, match=r"--replace LICENCE does not name a pushed file; these are README\.md"):
        push_to(hub, scenes, replace=["LICENCE"])
    assert push_to(hub, scenes, replace=["recipe.yaml"]).foreign.replaced == (), "it may be given again and again"


@pytest.mark.parametrize("content", [b"{}", b"[]", b"[" * 100_000, b'{"parts": [], "files": 7}'])
def test_a_manifest_of_somebody_else_makes_nothing_ours(hub: HubServer, scenes: Path, content: bytes) -> None:
    hub.create(NAME).write({"manifest.json": content, "recipe.yaml": b"bread"})
    with pytest.raises(HubError, match=r"has manifest\.json, recipe\.yaml, which datasetkit did not write") as caught:
        push_to(hub, scenes)
    assert str(caught.value).endswith("to replace: --replace manifest.json --replace recipe.yaml")
    push_to(hub, scenes, replace=["manifest.json", "recipe.yaml"])
    assert held(hub).keys() == local(scenes).keys()


def test_files_changed_on_the_hub_are_kept(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    changed = {"recipe.yaml": b"mine", "assets/samples.jpg": b"\xff\xd8mine", "manifest.json": b"{}"}
    hub.repository(NAME).write(changed)
    assert set(planned(hub, scenes).foreign.refused) == changed.keys()
    gone = "data/train-00002-of-00003.parquet"
    push_to(hub, scenes, replace=list(changed))
    hub.repository(NAME).write({gone: b"PAR1\0mine"})
    with pytest.raises(HubError, match=f"has {gone}, which datasetkit did not write and load_dataset would read"):
        push_to(hub, fewer_scenes)
    assert held(hub)[gone] == b"PAR1\0mine"


def without_hashes(hub: HubServer, version: str) -> dict[str, bytes]:
    """Remove the line of the push from the card, and return a manifest of that version."""
    card = held(hub)["README.md"].decode().splitlines(keepends=True)
    kept = [line for line in card if (match := PUSH_LINE.fullmatch(line)) is None or match["kind"] != "files"]
    assert len(kept) == len(card) - 1
    manifest = json.loads(held(hub)["manifest.json"]) | {"code_version": version}
    return {"README.md": "".join(kept).encode(), "manifest.json": json.dumps(manifest).encode()}


def test_what_pushes_before_hashes_were_kept_wrote_is_ours(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    hub.repository(NAME).write(without_hashes(hub, "0.3.0"))
    push_to(hub, fewer_scenes)
    assert held(hub).keys() == local(fewer_scenes).keys()


def test_files_whose_hashes_were_lost_are_somebodys(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    hub.repository(NAME).write(without_hashes(hub, dk.__version__) | {"recipe.yaml": b"mine\n"})
    before = held(hub)
    with pytest.raises(HubError, match=r"user/scenes has .*--replace recipe\.yaml"):
        push_to(hub, fewer_scenes)
    assert held(hub) == before


def test_a_manifest_of_nobody_makes_nothing_ours(hub: HubServer, scenes: Path) -> None:
    shard = "data/train-00007-of-00009.parquet"
    forged = {"files": ["LICENSE"], "parts": [{"shards": [{"path": shard}]}]}
    theirs = {"manifest.json": json.dumps(forged).encode(), "LICENSE": b"theirs", "ledger.jsonl": b"theirs"}
    hub.create(NAME).write(theirs)
    with pytest.raises(HubError, match=r"--replace ledger\.jsonl"):
        push_to(hub, scenes)
    names = [name for name in theirs if name in local(scenes)]
    push_to(hub, scenes, replace=names)
    assert held(hub)["LICENSE"] == b"theirs"


def test_what_was_looked_at_is_what_is_sent(hub: HubServer, scenes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(scenes, tmp_path / "scenes")
    recipe = (folder / "recipe.yaml").read_bytes()
    (tmp_path / "secret").write_bytes(b"s" * len(recipe))

    def swap(stage: str, done: int, total: int, detail: str = "") -> None:
        if stage == "checking" and done == total and not (folder / "recipe.yaml").is_symlink():
            (folder / "recipe.yaml").unlink()
            (folder / "recipe.yaml").symlink_to(tmp_path / "secret")

    push_to(hub, folder, on_progress=swap)
    assert (folder / "recipe.yaml").is_symlink()
    assert held(hub)["recipe.yaml"] == recipe


def test_a_card_that_cannot_be_merged_is_replaced_by_name(hub: HubServer, scenes: Path) -> None:
    hub.create(NAME).write({"README.md": b"---\na: [\n---\n\xff"})
    with pytest.raises(HubError, match=r"fix it there, or give --replace README\.md"):
        push_to(hub, scenes)
    assert push_to(hub, scenes, replace=["README.md"]).foreign.replaced == ("README.md",)
    assert held(hub) == expected(hub, scenes)


def test_files_of_another_adapter_are_replaced_by_name_alone(hub: HubServer, tmp_path: Path) -> None:
    write_adapter(tmp_path / "own")
    options = {"endpoint": hub.endpoint, "token": hub.token, "patience": HASTY, "read": Adapter.read}
    theirs = {"adapter_model.safetensors": b"\0theirs", "README.md": b"---\nlibrary_name: peft\n---\n# Theirs\n"}
    repository = hub.create(MODEL, repo_type="model")
    repository.write(theirs)
    with pytest.raises(HubError, match=r"user/adapter has adapter_model\.safetensors, which datasetkit did not write"):
        push(tmp_path / "own", MODEL, **options)  # type: ignore[arg-type]
    assert len(repository.history()) == 2
    pushed = push(tmp_path / "own", f"hf://{MODEL}", replace=["adapter_model.safetensors"], **options)  # type: ignore[arg-type]
    assert pushed.not_published == ("checkpoint-1/adapter_model.safetensors", "log.txt", "optimizer.pt")
    write_adapter(tmp_path / "next", seed=1)
    push(tmp_path / "next", MODEL, **options)  # type: ignore[arg-type]
    weights = repository.read("adapter_model.safetensors", "main")
    assert weights == (tmp_path / "next" / "adapter_model.safetensors").read_bytes()
    code, _, errors = run("push", tmp_path / "own", f"hf://datasets/{MODEL}", "--adapter")
    assert (code, "is a dataset, but a model is needed" in errors) == (1, True)


def test_hidden_files_and_files_of_others_never_leave(hub: HubServer, own_scenes: Path) -> None:
    names = ["assets/.env", "assets/logo.png", ".git/config", ".netrc", "notes.md", "data/train-extra.parquet"]
    for name in names:
        (own_scenes / name).parent.mkdir(exist_ok=True)
        (own_scenes / name).write_bytes(b"hush")
    (own_scenes / "assets" / "linked").symlink_to(own_scenes.parent)
    (own_scenes / ".build.gone").mkdir()
    (own_scenes / ".build.gone" / "x").touch()
    reported = "not published: 7 other files of the folder (.git/config, .netrc, assets/.env and 4 more)"
    for options in (["--dry-run"], []):
        assert reported in run("push", own_scenes, NAME, *options)[1].splitlines()
    assert not any(b"hush" in data for data in held(hub).values())
    assert set(held(hub)) == set(local(own_scenes)) - {*names, ".build.gone/x"}
    assert json.loads(run("push", own_scenes, NAME, "--json")[1])["not_published"] == sorted([*names, "assets/linked"])


def _replace_by_link(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    "name",
    ["assets", "assets/samples.jpg", "data", "data/test-00000-of-00001.parquet", "README.md", "recipe.yaml", "LICENSE"],
)
def test_a_link_is_not_published(hub: HubServer, own_scenes: Path, name: str) -> None:
    (own_scenes / "LICENSE").write_bytes(b"hush")
    _replace_by_link(own_scenes, name)
    for act in (planned, push_to):
        with pytest.raises(BuiltFolderError, match=f"{name} is a link, and its target would be published"):
            act(hub, own_scenes)
    assert ("dataset", NAME) not in hub.state.repositories


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("nothing")],
    ids=["folder", "pipe", "link"],
)
def test_a_license_that_is_no_file_is_refused(
    hub: HubServer, own_scenes: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(own_scenes / "LICENSE")
    with pytest.raises(BuiltFolderError, match=r"LICENSE is (not a file|a link)"):
        push_to(hub, own_scenes)


def test_a_dry_run_without_a_token_says_what_it_cannot_know(
    hub: HubServer, scenes: Path, fewer_scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_to(hub, scenes)
    hub.create("user/private", private=True).write(THEIRS)
    monkeypatch.delenv("HF_TOKEN")
    code, shown, _ = run("push", fewer_scenes, NAME, "--dry-run")
    assert (code, shown.count("delete  ")) == (0, 3)
    assert "unknown: whether you may write to user/scenes: there is no token" in shown.splitlines()
    for name in ("user/private", "user/nothing"):
        code, shown, _ = run("push", scenes, name, "--dry-run", "--create-pr")
        assert code == 0
        assert f"unknown: whether {name} exists and is private: it cannot be visible" in shown.splitlines()
    shown = run("push", scenes, "user/nothing", "--dry-run", "--token", hub.token)[1]
    assert "unknown: whether user/nothing exists and is private: it is not visible" in shown.splitlines()
    assert "does not accept the token" in run("push", scenes, NAME, "--dry-run", "--token", "hf_" + "x" * 34)[2]
    assert "run `hf auth login`, set HF_TOKEN, or give --token" in run("push", scenes, NAME)[2]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (lambda value: value.update(splits={"train": "six"}), "contradicts itself"),
        (lambda value: value.update(tally=5), "contradicts itself"),
        (lambda value: value.update(schema_version="9.0"), "has schema version 9.0"),
        (lambda value: value["parts"][0]["shards"][0].update(path="../secret/x.parquet"), "is not the name of a shard"),
    ],
)
def test_a_manifest_that_verify_refuses_is_not_published(
    hub: HubServer, tmp_path: Path, change: Callable[[Any], None], reported: str
) -> None:
    folder = build(tmp_path / "scenes", train=(1,), test=0)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuiltFolderError, match=reported):
        push_to(hub, folder)
    assert not hub.traffic.completed


def test_a_image_that_the_card_shows_is_not_left_out(hub: HubServer, tmp_path: Path) -> None:
    folder = build(tmp_path / "scenes", train=(1,), test=0)
    (folder / "assets" / "samples.jpg").unlink()
    with pytest.raises(BuiltFolderError, match=r"has no assets/samples\.jpg"):
        push_to(hub, folder)


@pytest.mark.parametrize("split", ["../out", "/out", "a/b", ".", ""])
def test_a_split_is_no_way_out(tmp_path: Path, split: str) -> None:
    folder = build(tmp_path / "in" / "scenes", train=(1,), test=0)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["parts"][0]["shards"][0]["split"] = split
    (folder / "manifest.json").write_text(json.dumps(manifest))
    before = sorted(tmp_path.rglob("*"))
    for name in ("imagefolder", "webdataset", "labelstudio"):
        with pytest.raises(BuiltFolderError):
            dk.open(folder).export(name, tmp_path / "in" / "export")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_is_not_written_into_the_dataset(scenes: Path) -> None:
    before = local(scenes)
    with pytest.raises(OutputError, match="is inside the dataset folder"):
        dk.open(scenes).preview(scenes / "manifest.json")
    assert local(scenes) == before


def test_only_what_is_asked_for_is_held_in_memory(scenes: Path) -> None:
    for name in ("recipe.yaml", "data/test-00000-of-00001.parquet"):
        held, plain = (local_file(scenes, name, lambda _: None, is_held=is_held) for is_held in (True, False))
        assert (held.source, plain.source) == ((scenes / name).read_bytes(), scenes / name)
        assert (held.sha256, held.size_bytes) == (plain.sha256, plain.size_bytes)
