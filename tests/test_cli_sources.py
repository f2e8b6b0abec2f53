"""What a person is told who builds from a source that is not quite as it should be: likely causes and remedies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from datasetkit.cli import app


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def write_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_pictures_that_two_splits_share_are_told(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name, seed in {"train/a": 0, "train/b": 1, "train/c": 2, "test/d": 0, "test/e": 1}.items():
        write_picture(source / f"{name}.png", seed)
    code, shown, _ = run("build", "folder", source, "--out", out)
    assert code == 0
    told = "noticed      2 pictures come again in another split; --splits train=.9,test=.1 keeps equal ones together"
    assert told in shown.splitlines()
    code, shown, errors = run("verify", out)
    assert code == 0, "a notice while building, no fault afterwards"
    assert "in another split, as have 2 rows in all" in shown + errors
    code, shown, _ = run("build", "folder", source, "--out", tmp_path / "mixed", "--splits", "train=.5,test=.5")
    assert code == 0
    assert "in another split" not in shown
