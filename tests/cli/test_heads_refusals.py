"""Wrong arguments of the commands for heads: refused in one line, before slow imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.compatibility.former import FORMER
from tests.conftest import REPOSITORY

MODEL = ("--model", "toyworld:vlm", "--device", "cpu")
DATA = ("--data", FORMER / "scenes")
SCORES = ("--scores", FORMER / "scores")
_PROGRAM = """
import json, sys
from datasetkit.cli import app
try:
    app(sys.argv[1:], prog_name="datasetkit")
except SystemExit as end:
    code = end.code
heavy = [name for name in ("torch", "transformers", "datasets") if name in sys.modules]
print(json.dumps([code, heavy]))
"""


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("score", *MODEL, *DATA, "--by", "hi_max:response"), "--by: give SCORE:POSITIONS, a score of hi, hi_soft"),
        (("score", "--model", "toyworld:vml", *DATA), "no shipped model is called 'toyworld:vml'; known: "),
        (("score", "--model", "/none", *DATA), "there is no folder /none"),
        pytest.param(
            ("score", *MODEL[:2], "--device", "cuda", *DATA),
            "--device: CUDA cannot be used (this torch was built without it)",
            marks=pytest.mark.skipif(torch.version.cuda is not None, reason="this torch was built with CUDA"),
        ),
        (("score", *MODEL, *DATA, "--split", "dev"), "has the splits train, test; give one of them, not dev"),
        (("score", *MODEL, "--data", "/none"), "'/none' is not a folder, nor a dataset on the Hub"),
        (("score", *MODEL, *DATA, "--scores", "none"), "no score is called 'none'"),
        (("score", *MODEL, *DATA, "--family", "none"), "no family is called 'none'; known: gemma3"),
        (("knockout", *MODEL, *DATA, "--flows", "image->all"), "--flows: 'image->all' is not a flow"),
        (("ablate", *MODEL, *DATA, "--scores", "/none"), "/none holds no finished head scores"),
        (("ablate", *MODEL, *DATA, "--scores", DATA[1]), "holds no finished head scores: scores.json is missing"),
        (("ablate", *MODEL, *DATA, *SCORES, "--by", "hi:none"), "no score is called hi:none; known: hi:last, "),
        (("sparsify", *MODEL, *DATA, *SCORES, "--by", "ram:none"), "no score is called ram:none"),
        (
            ("tune", *MODEL, *DATA, *SCORES, "--select", "top-layers:9"),
            "top-layers:9: the model has 4",
        ),
        (("tune", *MODEL, *DATA, "--select", "layers:4"), "layers:4 is impossible; give each layer once, from 0 to 3"),
        (("tune", *MODEL, *DATA, "--select", "best"), "--select: 'best' is not a selection"),
        (("tune", *MODEL, *DATA, "--select", "all", "--test-split", "dev"), "give one of them, not dev"),
        (("tune", *MODEL, *DATA, "--select", "all", "--forgetting", "/none"), "'/none' is not a folder"),
        (("compare", *MODEL, *DATA, "--select", "all", "--shard", "3/2"), "--shard: give I/N, such as 1/4"),
        (("report", "/none"), "there is no folder /none"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, tuple) else "",
)
def test_it_is_one_line_before_anything_heavy_is_imported(
    arguments: tuple[object, ...], reported: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert reported in line
    code, heavy = json.loads(done.stdout)
    assert (code, heavy) == (1, [])
    assert not list(tmp_path.iterdir())
