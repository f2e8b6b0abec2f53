"""Checkpoints that are not what they should be: one line each, nothing of theirs is run, and no path is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from datasetkit.core.errors import ModelError
from datasetkit.runtime.loading import checkpoint_identity, file_identity, load_config, load_model, load_processor
from tests.annotation.tiny_clip import save_image_text_model
from tests.hub.server import HubServer


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_text_model(tmp_path_factory.mktemp("checkpoint") / "sound", "clip")


def load(folder: Path | str, auto_class: Any = AutoModel, dtype: str = "float32") -> Any:
    return load_model(auto_class, str(folder), None, device="cpu", dtype=dtype)


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def only_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def half(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def one_weight_less(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (only_pickle, "no file named model.safetensors"),
    (half, "incomplete metadata"),
    (one_weight_less, "lacks 1 of the weights of a CLIPModel.*visual_projection.weight"),
    (lambda folder: change_config(folder, projection_dim=8), "lacks 2 of the weights"),
    (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON file"),
    (lambda folder: change_config(folder, model_type="frob"), "model type `frob`"),
    (shutil.rmtree, "there is no folder"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damage_is_told_in_one_line(
    sound: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(sound, folder)
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_folder(sound: Path) -> None:
    with pytest.raises(ModelError, match="is a file; give the folder"):
        load(sound / "model.safetensors")


def test_a_missing_model_offline_names_the_offline_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="user/nothing is not on this machine, and HF_HUB_OFFLINE is set"):
        load_config("user/nothing", None)


def test_another_architecture_is_refused(sound: Path) -> None:
    with pytest.raises(ModelError, match="Unrecognized configuration class"):
        load(sound, AutoModelForImageTextToText)
    with pytest.raises(ModelError, match="of type clip; give one of type sam"):
        load_config(str(sound), None, ["sam"])


@pytest.mark.parametrize(
    "attempt",
    [
        load,
        lambda folder: load_processor(AutoProcessor, str(folder), None),
        lambda folder: load_config(str(folder), None, ["frob"]),
    ],
    ids=["model", "processor", "config"],
)
def test_code_in_a_checkpoint_is_never_run(sound: Path, tmp_path: Path, attempt: Callable[[Path], object]) -> None:
    folder, marker = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(sound, folder)
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    change_config(folder, model_type="frob", auto_map={"AutoConfig": "evil.A", "AutoModel": "evil.B"})
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Evil", "auto_map": {"AutoProcessor": "evil.C"}})
    )
    with pytest.raises(ModelError):
        attempt(folder)
    assert not marker.exists()


def test_weights_come_in_the_dtype_asked_for(sound: Path, tmp_path: Path) -> None:
    load(sound).half().save_pretrained(tmp_path / "half")
    assert load(tmp_path / "half").dtype is torch.float32
    assert load(sound, dtype="bfloat16").dtype is torch.bfloat16


def test_identities_name_weights_and_no_path(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256((sound / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.chdir(sound)
    names = (str(sound), ".", "../sound", f"{sound}/")
    (identity,) = {checkpoint_identity("similarity", name, None) for name in names}
    assert (identity.id, identity.revision) == ("sound", None)
    assert checkpoint_identity("captioner", "toyworld:vlm", None).id == "toyworld:vlm"
    assert file_identity("detector", sound / "model.safetensors").id == "model.safetensors"
    assert file_identity("detector", sound / "model.safetensors").sha256 == digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "chat_template.jinja", "vocab.txt"])
def test_whatever_decides_answers_is_part_of_the_identity(sound: Path, tmp_path: Path, name: str) -> None:
    changed = Path(shutil.copytree(sound, tmp_path / "sound"))
    before = checkpoint_identity("similarity", str(changed), None)
    assert before == checkpoint_identity("similarity", str(sound), None)
    (changed / "README.md").write_text("told to people only")
    assert checkpoint_identity("similarity", str(changed), None) == before
    with (changed / name).open("ab") as file:
        file.write(b" ")
    assert checkpoint_identity("similarity", str(changed), None) != before


@pytest.mark.parametrize("revision", [None, "v1"])
def test_the_hub_s_commit_is_the_revision(hub: HubServer, sound: Path, revision: str | None) -> None:
    repository = hub.create("somebody/clip", repo_type="model")
    repository.write({path.name: path.read_bytes() for path in sound.iterdir()})
    repository.tags["v1"] = repository.head
    load_model(AutoModel, "somebody/clip", revision, device="cpu", dtype="float32")
    identity = checkpoint_identity("similarity", "somebody/clip", revision)
    assert (identity.id, identity.revision, identity.sha256) == ("somebody/clip", repository.head, None)
