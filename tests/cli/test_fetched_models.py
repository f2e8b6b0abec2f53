"""``datasetkit models``: what it lists, fetches and checks, and builds from what was fetched, without a network."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock
from huggingface_hub import constants, scan_cache_dir

from datasetkit.cli import app
from datasetkit.export.dataset.manifest import Manifest
from tests.core.images import encode, noise
from tests.hub.checkpoints import CAPTIONER, DETECTOR, SEGMENTER, publish
from tests.hub.conftest import waits as waits
from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.pipeline.builders import put

RUN = CliRunner()
MODELS = (CAPTIONER, DETECTOR, SEGMENTER)


def run(*arguments: object) -> tuple[int, str, str]:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def preset(hub: HubServer, tmp_path: Path) -> Path:
    return publish(hub, tmp_path)


@pytest.fixture
def fetched(preset: Path, tmp_path: Path) -> Path:
    code, _, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "fetched")
    assert code == 0, errors
    return tmp_path / "fetched"


def refuse_connections(patch: pytest.MonkeyPatch) -> None:
    """Let no socket of this process connect, to this machine neither."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a network was asked")

    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, refuse)
    patch.setattr(socket, "getaddrinfo", refuse)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights_of(folder: Path, model: str) -> Path:
    (found,) = folder.glob(f"{model.replace('/', '--')}/*/model.safetensors")
    return found


def test_list_says_what_the_hub_has(hub: HubServer, preset: Path) -> None:
    code, shown, _ = run("models", "list", "--preset", preset, "--json")
    models = {one["id"]: one for one in json.loads(shown)["models"]}
    assert (code, tuple(models)) == (0, MODELS)
    for name, one in models.items():
        repository = hub.repository(name, "model")
        files = repository.files()
        names = [path for path in files if not path.endswith((".bin", ".onnx", ".py", ".md", ".gitattributes"))]
        wanted = sum(files[path].size for path in names if path != "model.fp16.safetensors")
        assert (one["size"], one["missing"], one["commit"]) == (wanted, wanted, repository.head)
        assert (one["license"], one["state"]) == ("apache-2.0", "to be fetched")
    assert not any(request.method == "GET" and request.kind == "resolve" for request in hub.traffic.requests)


def test_list_without_a_hub_says_so(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, shown, _ = run("models", "list", "--preset", preset)
    assert code == 0
    assert f"detector     {DETECTOR}  to be fetched, size unknown, license unknown\n" in shown
    assert "all          3 models of unknown size to be fetched\n" in shown
    assert "hub          HF_HUB_OFFLINE is set, so the Hub cannot be asked\n" in shown
    code, shown, _ = run("models", "list", "--preset", "toyworld")
    assert (code, shown.count(", apache-2.0\n")) == (0, 3)


def test_fetch_takes_what_loading_needs(hub: HubServer, preset: Path, fetched: Path) -> None:
    names = {path.name for path in fetched.rglob("*") if path.is_file()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"} & names >= {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
    }
    assert not {name for name in names if name.endswith((".bin", ".onnx", ".py", ".md", ".incomplete"))}
    assert "model.fp16.safetensors" not in names
    for model in MODELS:
        repository = hub.repository(model, "model")
        folder = fetched / model.replace("/", "--") / repository.head
        assert (folder / "model.safetensors").read_bytes() == repository.read("model.safetensors")
    hub.traffic.clear()
    code, shown, _ = run("models", "list", "--preset", preset, "--to", fetched)
    assert (code, shown.count("here, "), hub.traffic.requests) == (0, len(MODELS), [])


def test_fetch_says_sizes_before_it_starts(preset: Path, tmp_path: Path) -> None:
    code, shown, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")
    lines = errors.splitlines()
    assert code == 0
    assert [line.split()[1] for line in lines[:3]] == [f"{model}:" for model in MODELS]
    assert " to be fetched, " in lines[3]
    assert " free in " in lines[3]
    assert "every model is here" in shown


def test_fetch_without_space_fetches_nothing(
    hub: HubServer, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    code, shown, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")
    assert (code, shown) == (1, "")
    assert "has 1.0 kB free, and the models need " in errors
    assert hub.traffic.count("resolve") == 0
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("is_carried", [True, False])
def test_a_cut_fetch_goes_on_within_the_file(
    hub: HubServer,
    preset: Path,
    tmp_path: Path,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    is_carried: bool,
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # the client writes whole chunks only
    weights, half = f"GET /{DETECTOR}/resolve/.*/model.safetensors", 40_000
    hub.faults.add(Fault(weights, "truncate", after_bytes=half), Fault(weights, "truncate", times=10, after_bytes=0))
    to = ("--to", tmp_path / "to") if is_carried else ()
    code, _, errors = run("models", "fetch", "--preset", preset, *to)
    assert code == 1
    assert f"{DETECTOR}: the connection broke" in errors
    small = hub.repository(DETECTOR, "model").files()["config.json"].size  # comes before the weights
    assert "what came is kept; run the same command again" in errors
    hub.faults.clear()
    shown = json.loads(run("models", "list", "--preset", preset, *to, "--json")[1])["models"][1]
    assert (shown["state"], half) == ("partly here", shown["size"] - shown["missing"] - small)
    hub.traffic.clear()
    code, _, errors = run("models", "fetch", "--preset", preset, *to)
    assert code == 0, errors
    sent = {request.url: request.sent for request in hub.traffic.requests if request.method == "GET" and request.sent}
    size = hub.repository(DETECTOR, "model").files()["model.safetensors"].size
    of_weights = [bytes_ for url, bytes_ in sent.items() if url.endswith("model.safetensors")]
    assert of_weights == [size - half, hub.repository(SEGMENTER, "model").files()["model.safetensors"].size]
    assert not any(f"/{CAPTIONER}/resolve" in url for url in sent)
    assert run("models", "check", "--preset", preset, *to)[0] == 0
    place = tmp_path / "to" if is_carried else tmp_path / "hf_home"
    assert not list(place.rglob("*.incomplete"))


def test_a_changed_file_on_the_way_is_refused(hub: HubServer, preset: Path, tmp_path: Path) -> None:
    size = hub.repository(CAPTIONER, "model").files()["model.safetensors"].size
    hub.faults.add(Fault(f"GET /{CAPTIONER}/resolve/.*/model.safetensors", "body", body=b"\0" * size))
    code, _, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")
    assert code == 1
    assert "model.safetensors is not the file that the Hub listed: its digest differs" in errors
    assert run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")[0] == 0


@pytest.mark.parametrize("is_carried", [True, False])
def test_a_changed_file_is_fetched_again(preset: Path, tmp_path: Path, is_carried: bool) -> None:
    to = ("--to", tmp_path / "to") if is_carried else ()
    assert run("models", "fetch", "--preset", preset, *to)[0] == 0
    place = tmp_path / "to" if is_carried else tmp_path / "hf_home"
    (weights,) = (path for path in place.rglob("model.safetensors") if "detector" in str(path))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run("models", "check", "--preset", preset, *to)[0] == 1
    code, _, errors = run("models", "fetch", "--preset", preset, *to)
    assert code == 0
    assert f"{DETECTOR}: model.safetensors is not the file that the Hub listed; it is fetched again" in errors
    assert weights.read_bytes() == whole
    assert run("models", "check", "--preset", preset, *to)[0] == 0


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"[]", b"{}", b'{"id": "a/b", "sha": "../x", "siblings": []}']
)
def test_a_page_in_place_of_a_model_is_one_line(hub: HubServer, preset: Path, body: bytes) -> None:
    hub.faults.add(Fault("info GET", "body", body=body, times=10))
    code, _, errors = run("models", "fetch", "--preset", preset)
    assert (code, errors.count("\n")) == (1, 1)
    assert f"{CAPTIONER}: the Hub's response does not describe a model (" in errors
    code, shown, _ = run("models", "list", "--preset", preset)
    assert (code, shown.count("does not describe a model")) == (0, 1)


@pytest.mark.parametrize(
    ("status", "cure"), [(403, "log in with: hf auth login"), (429, "run the same command again later")]
)
def test_a_hub_that_refuses_says_what_to_do(hub: HubServer, preset: Path, status: int, cure: str) -> None:
    hub.faults.add(Fault("info GET", "status", status=status, times=10))
    code, _, errors = run("models", "fetch", "--preset", preset)
    assert code == 1
    assert f"{CAPTIONER}: the Hub refuses (" in errors
    assert errors.endswith(f"; {cure}\n")


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"x" * 1_000_000])
def test_another_body_for_a_file_is_one_line(hub: HubServer, preset: Path, tmp_path: Path, body: bytes) -> None:
    hub.faults.add(Fault(f"GET /{DETECTOR}/resolve/.*/model.safetensors", "body", body=body))
    code, _, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")
    assert code == 1
    assert f"{DETECTOR}: model.safetensors did not come whole (" in errors


def test_a_hub_that_moved_on_does_not_block_a_cut_fetch(hub: HubServer, preset: Path, tmp_path: Path) -> None:
    preset.write_text("".join(line for line in preset.read_text().splitlines(True) if "revision" not in line))
    fetch = ("models", "fetch", "--preset", preset, "--to", tmp_path / "to")
    hub.faults.add(Fault(f"GET /{DETECTOR}/resolve/.*/model.safetensors", "status", status=404))
    assert run(*fetch)[0] == 1
    hub.repository(DETECTOR, "model").write({"notes.txt": b"more"})
    code, shown, errors = run(*fetch)
    assert code == 0, errors
    assert f"{DETECTOR}@{hub.repository(DETECTOR, 'model').head[:12]}  here" in shown


def test_names_that_are_ours_or_hidden_are_not_fetched(hub: HubServer, preset: Path, tmp_path: Path) -> None:
    preset.write_text("".join(line for line in preset.read_text().splitlines(True) if "revision" not in line))
    others = {"fetched.json": b"{}", ".hidden.json": b"{}", "additional_chat_templates/..": b"x"}
    hub.repository(DETECTOR, "model").write(others)
    assert run("models", "fetch", "--preset", preset, "--to", tmp_path / "to")[0] == 0
    assert run("models", "check", "--preset", preset, "--to", tmp_path / "to")[0] == 0
    assert not list((tmp_path / "to").rglob(".hidden.json"))


def test_two_fetches_at_once_do_not_mix(hub: HubServer, preset: Path, fetched: Path) -> None:
    folder = weights_of(fetched, DETECTOR).parent
    (folder / "model.safetensors").unlink()
    with FileLock(folder / "fetching.lock"):
        code, _, errors = run("models", "fetch", "--preset", preset, "--to", fetched)
    assert code == 1
    assert f"another process is fetching {DETECTOR} to {folder}" in errors
    assert run("models", "fetch", "--preset", preset, "--to", fetched)[0] == 0
    assert not list(fetched.rglob("*.lock"))


def test_a_place_that_cannot_be_filled_is_one_line(preset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    code, _, errors = run("models", "fetch", "--preset", preset, "--to", tmp_path / "file")
    assert (code, errors) == (1, f"error: {tmp_path / 'file'} is not a folder; give one as --to\n")
    for command in (("models", "list", "--to"), ("models", "check", "--to"), ("doctor", "--models")):
        code, _, errors = run(*command, "s3://bucket/models", "--preset", preset)
        assert (code, errors.count("\n")) == (1, 1)
        assert "s3://bucket/models is remote; models are fetched to a folder on this machine" in errors


def test_check_names_files_that_loading_would_read(preset: Path, fetched: Path) -> None:
    folder = weights_of(fetched, CAPTIONER).parent
    (folder / "adapter_config.json").write_text("{}")
    (folder / ".DS_Store").write_text("")
    (folder / "notes.md").write_text("mine")
    code, shown, _ = run("models", "check", "--preset", preset, "--to", fetched)
    assert code == 1
    assert shown == f"{CAPTIONER}: adapter_config.json is not among the files that the Hub listed; remove it\n"


def test_check_names_every_fault(preset: Path, fetched: Path) -> None:
    code, shown, _ = run("models", "check", "--preset", preset, "--to", fetched)
    assert (code, shown) == (0, f"every file of 3 models is whole: {', '.join(MODELS)}\n")
    cut, changed, gone = (weights_of(fetched, model) for model in MODELS)
    cut.write_bytes(cut.read_bytes()[:100])
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    gone.unlink()
    code, shown, _ = run("models", "check", "--preset", preset, "--to", fetched)
    assert code == 1
    assert shown.splitlines() == [
        f"{CAPTIONER}: model.safetensors is not complete: it has 100 bytes",
        f"{DETECTOR}: model.safetensors is not the file that the Hub listed: its digest differs",
        f"{SEGMENTER}: model.safetensors is missing",
    ]


def test_check_names_an_unknown_architecture(preset: Path, fetched: Path) -> None:
    own = shutil.copytree(weights_of(fetched, DETECTOR).parent, fetched.parent / "own")
    (own / "fetched.json").unlink()
    config = own / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "frob"}))
    preset.write_text(preset.read_text().replace(f"model: {DETECTOR}", f"model: {own}"))
    code, shown, _ = run("models", "check", "--preset", preset, "--to", fetched)
    assert (code, shown.count("\n")) == (1, 1)
    assert "model type `frob`" in shown


def test_check_of_the_cache_knows_what_is_missing(preset: Path) -> None:
    assert run("models", "check", "--preset", preset)[1].count("it is not in the cache of the Hub") == len(MODELS)
    assert run("models", "fetch", "--preset", preset)[0] == 0
    assert run("models", "check", "--preset", preset)[0] == 0
    cache = scan_cache_dir(constants.HF_HUB_CACHE)
    assert ({repo.repo_id for repo in cache.repos}, cache.warnings) == ({*MODELS}, [])


def test_other_models_over_a_preset_are_fetched(preset: Path, tmp_path: Path) -> None:
    more = ("--detector", "toyworld:detector", "--segmenter", "toyworld:segmenter")
    code, shown, _ = run("models", "fetch", "--preset", preset, *more, "--to", tmp_path / "to", "--json")
    states = {one["id"]: one["state"] for one in json.loads(shown)["models"]}
    assert (code, states[CAPTIONER], states["toyworld:detector"]) == (0, "here", "shipped")
    assert [path.name for path in (tmp_path / "to").iterdir()] == [CAPTIONER.replace("/", "--")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "no models are named; give --preset grounded-sam"),
        (("--preset", "none"), "no models are named"),
        (("--preset", "toyworld", "--detector", "org/none"), "org/none is not on the Hub, or private"),
        (("--preset", "toyworld", "--detector", "my model"), "my model is neither a folder nor a Hub id"),
    ],
)
def test_fetch_refuses_in_one_line(hub: HubServer, given: tuple[str, ...], message: str) -> None:
    code, shown, errors = run("models", "fetch", *given)
    assert (code, shown, errors.count("\n")) == (1, "", 1)
    assert message in errors


def test_missing_models_are_named_at_once(
    hub: HubServer, preset: Path, fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", {"1.png": encode(noise((48, 64), 1), "PNG")})
    build = ("build", "folder", tmp_path / "in", "--preset", preset, "--device", "cpu", "--out", tmp_path / "out")
    for model in (CAPTIONER, SEGMENTER):
        shutil.rmtree(fetched / model.replace("/", "--"))
    code, _, errors = run(*build, "--models", fetched)
    command = f"datasetkit models fetch --preset {preset}"
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith(
        f"error: {CAPTIONER}, {SEGMENTER} are not on this machine, and the folder {fetched} does not have them; "
    )
    assert errors.endswith(f"run: {command} --to {fetched}\n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, errors = run(*build)
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith(f"error: {CAPTIONER}, {DETECTOR}, {SEGMENTER} are not on this machine, and HF_HUB")
    assert errors.endswith(f"run: {command}\n")


@pytest.mark.slow
def test_a_build_without_a_network_has_equal_bytes(
    preset: Path, fetched: Path, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", {f"{number}.png": encode(noise((48, 64), number), "PNG") for number in range(3)})
    build = ("build", "folder", tmp_path / "in", "--preset", preset, "--device", "cpu", "--no-overlay", "--out")
    code, _, errors = run(*build, tmp_path / "online")
    assert code == 0, errors
    carried = Path(shutil.copytree(fetched, tmp_path / "elsewhere" / "models"))
    with monkeypatch.context() as patch:
        refuse_connections(patch)
        code, _, errors = run(*build, tmp_path / "air-gapped", "--models", carried)
    assert code == 0, errors
    assert content(tmp_path / "air-gapped") == content(tmp_path / "online")
    models = Manifest.read(tmp_path / "air-gapped").models
    assert {model.id for model in models} == set(MODELS)
    assert all(model.revision is not None and model.sha256 is None for model in models)
    recipe = tmp_path / "air-gapped" / "recipe.yaml"
    code, shown, _ = run("models", "list", "--preset", recipe, "--to", carried)
    assert (code, shown.count("  here, ")) == (0, len(MODELS))
    assert Manifest.read(tmp_path / "air-gapped").tally.read["detection"] > 0


@pytest.mark.slow
def test_changed_weights_are_not_taken_for_the_hub_s(preset: Path, fetched: Path, tmp_path: Path) -> None:
    put(tmp_path / "in", {"1.png": encode(noise((48, 64), 1), "PNG")})
    weights = weights_of(fetched, DETECTOR)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    build = ("build", "folder", tmp_path / "in", "--preset", preset, "--device", "cpu", "--out", tmp_path / "out")
    code, _, errors = run(*build, "--models", fetched)
    assert code == 1
    assert "model.safetensors is not the file that the Hub listed" in errors
    assert not (tmp_path / "out").exists()
