"""``datasetkit doctor --preset``: whether its models will run here, in the six situations that there are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.torch import load_file

from datasetkit.api.doctor_preset import Check, judge, measure, plan
from datasetkit.api.models import size_text
from datasetkit.cli import app
from datasetkit.options.build import DoctorCommand
from datasetkit.runtime.packages import NUM2WORDS, TORCHVISION
from tests.hub.checkpoints import CAPTIONER, DETECTOR, SEGMENTER, publish
from tests.hub.server import HubServer

RUN = CliRunner()
GIB = 1 << 30


@pytest.fixture
def preset(hub: HubServer, tmp_path: Path) -> Path:
    return publish(hub, tmp_path)


@pytest.fixture
def models(preset: Path, tmp_path: Path) -> Path:
    assert run("models", "fetch", "--preset", preset, "--to", tmp_path / "models")[0] == 0
    return tmp_path / "models"


def run(*arguments: object) -> tuple[int, list[str]]:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout.splitlines()


def doctor(preset: Path, models: Path) -> tuple[int, list[str]]:
    return run("doctor", "--preset", preset, "--models", models, "--device", "cpu")


def cures(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.cure for check in checks if check.cure is not None}


def test_all_there(preset: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, lines = doctor(preset, models)
    assert code == 0
    assert [line.partition(": here, ")[0] for line in lines[:3]] == [
        f"weights      captioner {CAPTIONER}",
        f"weights      detector {DETECTOR}",
        f"weights      segmenter {SEGMENTER}",
    ]
    assert "hub          not needed: every model is here" in lines
    assert "device       cpu" in lines
    assert "packages     all there" in lines
    assert lines[-1] == "verdict      this will run here"


def test_one_missing(preset: Path, models: Path) -> None:
    shutil.rmtree(models / DETECTOR.replace("/", "--"))
    code, lines = doctor(preset, models)
    assert code == 1
    missing = next(place for place, line in enumerate(lines) if "to be fetched" in line)
    assert lines[missing].startswith(f"weights      detector {DETECTOR}: to be fetched, size unknown")
    assert lines[missing + 1] == (
        f"{'':13}cure: where the Hub answers, run: datasetkit models fetch --preset {preset} --to {models}"
    )
    assert "hub          not asked: --models is given" in lines
    assert lines[-1] == "verdict      this will not run here yet"
    assert run(*lines[missing + 1].partition("run: datasetkit ")[2].split())[0] == 0
    assert doctor(preset, models)[0] == 0


def test_no_hub(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, lines = run("doctor", "--preset", preset, "--device", "cpu")
    assert code == 1
    assert "hub          HF_HUB_OFFLINE is set, so the Hub cannot be asked" in lines
    unknown = [line.split()[0] for line in lines if line.endswith("size unknown, as the Hub does not answer")]
    assert unknown == ["disk", "memory"]
    command = f"datasetkit models fetch --preset {preset} --to DIR"
    cure = f"cure: where the Hub answers, run: {command}; bring DIR here, and build with --models DIR"
    assert lines.count(f"{'':13}{cure}") == 1
    assert not any("cure: run: " in line for line in lines)


@pytest.mark.parametrize("command", [("doctor", "--models"), ("models", "check", "--to")])
def test_a_folder_of_models_that_is_missing_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = RUN.invoke(app, [*command, str(tmp_path / "nowhere"), "--preset", "grounded-sam"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'nowhere'} is not a folder; where the Hub answers, run: ")
    assert result.stderr.endswith(f" --to {tmp_path / 'nowhere'}; then copy it here\n")


def test_a_hub_that_refuses_is_not_one_that_is_silent(
    preset: Path,
) -> None:
    code, lines = run("doctor", "--preset", preset, "--detector", "org/none", "--device", "cpu")
    assert code == 1
    assert (
        f"{'':13}cure: org/none is not on the Hub, or private; check its name, or log in with: hf auth login" in lines
    )
    assert "hub          answers" in lines


def test_no_space(preset: Path) -> None:
    options = DoctorCommand(preset=str(preset), device="cpu")
    needs = plan(options)
    missing = sum(one.size or 0 for one in needs.models)
    here = measure(options, needs.models)
    assert "disk" not in cures(judge(needs, replace(here, disk_free=missing)).checks)
    found = judge(needs, replace(here, disk_free=missing - 1000))
    assert not found.is_ready
    assert cures(found.checks)["disk"] == "free 1.0 kB, or fetch to another disk: --to DIR"
    assert f"{size_text(missing)} needed" in "\n".join(check.state for check in found.checks if check.name == "disk")


@pytest.mark.parametrize(("dtype", "offers_half"), [("float32", True), ("bfloat16", False)])
def test_no_memory(preset: Path, models: Path, dtype: str, offers_half: bool) -> None:
    options = DoctorCommand(preset=str(preset), models=models, device="cpu", dtype=dtype)
    needs = plan(options)
    here = replace(measure(options, needs.models), memory_free=needs.memory)
    assert judge(needs, here).is_ready
    found = judge(needs, replace(here, memory_free=needs.memory - 1))
    assert not found.is_ready
    cure = cures(found.checks)["memory"]
    assert ("halve the weights: --dtype bfloat16" in cure) is offers_half
    assert "name smaller models" in cure
    assert judge(needs, replace(here, memory_free=None)).is_ready, "what cannot be measured is no fault"


def test_memory_counts_weights_in_the_type_of_the_build(preset: Path, models: Path) -> None:
    wide, narrow = (
        plan(DoctorCommand(preset=str(preset), models=models, device="cpu", dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    files = models.glob("*/*/model.safetensors")
    count = sum(tensor.numel() for path in files for tensor in load_file(path).values())
    assert (wide.weights, narrow.weights) == (4 * count, 2 * count)


def test_no_extra(preset: Path, models: Path) -> None:
    options = DoctorCommand(preset=str(preset), models=models, device="cpu")
    needs = replace(plan(options), packages=(("torchvision", "ModuleNotFoundError: none", TORCHVISION.command),))
    found = judge(needs, measure(options, needs.models))
    assert not found.is_ready
    assert cures(found.checks) == {"packages": f"run: {TORCHVISION.command}"}


@pytest.mark.skipif(TORCHVISION.fault() is None, reason="torchvision works here")
def test_the_extra_that_a_part_lacks_is_found(preset: Path, models: Path) -> None:
    code, lines = run(
        *("doctor", "--preset", preset, "--models", models, "--device", "cpu", "--set", "segmenter.name=sam2"),
        *("--set", f"segmenter.model={SEGMENTER}"),
    )
    assert code == 1
    assert any(line.startswith("packages     torchvision does not work here (") for line in lines)
    assert f"{'':13}cure: run: {TORCHVISION.command}" in lines


@pytest.mark.skipif(NUM2WORDS.is_installed, reason="num2words is here")
def test_the_extra_that_a_fetched_model_lacks_is_found(preset: Path, models: Path) -> None:
    (config,) = models.glob(f"{CAPTIONER.replace('/', '--')}/*/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "smolvlm"}))
    (found,) = plan(DoctorCommand(preset=str(preset), models=models, device="cpu")).packages
    assert found[0] in ("torchvision", "num2words")
    assert "num2words" in found[2] or "vlm" in found[2]


def test_no_device(preset: Path, models: Path) -> None:
    options = DoctorCommand(preset=str(preset), models=models, device="cpu")
    needs = plan(options)
    here = replace(measure(options, needs.models), device=None, device_fault="device 'xpu' cannot be used")
    assert cures(judge(needs, here).checks) == {"device": "give --device auto"}


def test_json_has_every_check(preset: Path, models: Path) -> None:
    code, lines = run("doctor", "--preset", preset, "--models", models, "--device", "cpu", "--json")
    found = json.loads("\n".join(lines))
    assert (code, found["is_ready"]) == (0, True)
    assert {check["name"] for check in found["checks"]} == {"weights", "hub", "disk", "device", "memory", "packages"}
