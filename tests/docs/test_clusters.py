"""The examples of clusters: pages show them as they are, their commands exist, and their jobs build one dataset."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from datasetkit.cli import app
from tests.conftest import REPOSITORY
from tests.docs import pages
from tests.docs.session import Session
from tests.pipeline.builders import contents

EXAMPLES = REPOSITORY / "examples" / "clusters"
PAGE = "docs/how-to/scaling.md"
JOBS, FEWER = 8, 3
# Writes down how it was called, in place of a program.
_STUB = """#!{python}
import json, sys
with open({record!r}, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
"""


def text_of(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def container() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of("kubernetes.yaml"))["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_page_shows_every_example_as_it_is() -> None:
    shown = {block.text for block in pages.blocks(PAGE)}
    assert not [path.name for path in EXAMPLES.iterdir() if path.read_text(encoding="utf-8") not in shown]


def calls(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> list[list[str]]:
    """Run a script with stubs in place of programs; return what they were called with."""
    record = folder / "calls"
    record.touch()
    (folder / "bin").mkdir()
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    for name in ("datasetkit", "hf", "ray"):
        stub = folder / "bin" / name
        stub.write_text(_STUB.format(python=sys.executable, record=str(record), name=name), encoding="utf-8")
        stub.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", *words], cwd=folder, env={**os.environ, **(env or {}), "PATH": path}, check=True)
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def check_command(words: Sequence[str], patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run a command of datasetkit in an empty folder, which must find no fault but that its input is not there."""
    (folder / "empty").mkdir(exist_ok=True)
    patch.chdir(folder / "empty")
    assert words[0] == "datasetkit"
    done = CliRunner().invoke(app, [*words[1:]])
    assert re.search(r"error: \S+ is not a folder", done.output), done.output


def test_slurm_script_is_an_array_of_the_jobs_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [words] = calls(tmp_path, str(EXAMPLES / "slurm.sbatch"), env={"SLURM_ARRAY_TASK_ID": "5"})
    assert words[words.index("--shard") + 1] == f"5/{JOBS}"
    assert f"#SBATCH --array=0-{JOBS - 1}\n" in text_of("slurm.sbatch").partition("\nset -e")[0]
    check_command(words, monkeypatch, tmp_path)


def test_ray_script_starts_joins_and_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for step in (["head"], ["join", "first"], ["build"]):
        (tmp_path / step[0]).mkdir()
        found += calls(tmp_path / step[0], str(EXAMPLES / "ray.sh"), *step)
    head, joined, build = found
    assert head == ["ray", "start", "--head", "--port=6379"]
    assert joined == ["ray", "start", "--address=first:6379"]
    check_command(build, monkeypatch, tmp_path)


def test_hub_job_is_accepted_by_the_real_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [words] = calls(tmp_path, str(EXAMPLES / "hf_jobs.sh"))
    offline = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_OFFLINE": "1"}
    assert words[:3] == ["hf", "jobs", "run"]
    dry = [sys.executable, "-m", "huggingface_hub.cli.hf", "jobs", "run", "--dry-run", *words[3:]]
    done = subprocess.run(dry, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "inside").mkdir()
    start = words.index("bash")
    script = words[start + 2].replace("/tmp", str(tmp_path))
    for inner in calls(tmp_path / "inside", words[start + 1], script):
        check_command(inner, monkeypatch, tmp_path)


def test_kubernetes_job_has_a_pod_per_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = yaml.safe_load(text_of("kubernetes.yaml"))["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", JOBS, JOBS)
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "backoffLimitPerIndex is for this policy only"
    assert f"--shard=$(JOB_COMPLETION_INDEX)/{JOBS}" in container()["command"]
    volumes = {one["name"] for one in spec["template"]["spec"]["volumes"]}
    assert {one["name"] for one in container()["volumeMounts"]} == volumes
    check_command(words_of_pod(tmp_path, 7), monkeypatch, tmp_path)


def words_of_pod(data: Path, index: int) -> list[str]:
    """Return the command of a pod as it is run there, with its volume in a folder here."""
    words = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in container()["command"]]
    return [word.replace("/data/", f"{data}/") for word in words]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Return a text with each of some parts, which occur once, replaced."""
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def run_at_once(commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]]) -> list[str]:
    """Run commands at the same time, each with more variables, and return what they print."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(words, env=one_thread | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for words, more in zip(commands, environments, strict=True)
    ]
    texts = [one.communicate()[0] for one in running]
    assert not any(one.returncode for one in running), "\n".join(texts)
    return texts


def build_whole(words: Sequence[str]) -> None:
    """Run a command of datasetkit in this process."""
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_slurm_jobs_at_once_write_the_bytes_of_one_build(reader: Callable[[str], Session], tmp_path: Path) -> None:
    reader(PAGE)
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/activate").touch()
    fetched = CliRunner().invoke(app, ["models", "fetch", "--preset", "grounded-sam", "--to", "models"])
    assert fetched.exit_code == 0, fetched.output
    small = replaced(text_of("slurm.sbatch"), (f"/{JOBS}", f"/{FEWER}"), ("--part-size 500", "--part-size 2"))
    Path("slurm.sbatch").write_text(small, encoding="utf-8")
    (tmp_path / "once").mkdir()
    [words] = calls(tmp_path / "once", str(Path("slurm.sbatch").absolute()), env={"SLURM_ARRAY_TASK_ID": "0"})
    assert words[-4:] == ["--shard", f"0/{FEWER}", "--out", "found"]
    build_whole([*words[1:-4], "--out", "whole"])
    fixed = {"SLURM_ARRAY_TASK_COUNT": str(FEWER), "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": str(FEWER - 1)}
    variables = [{**fixed, "SLURM_ARRAY_TASK_ID": str(index)} for index in range(FEWER)]
    texts = run_at_once([["bash", "slurm.sbatch"]] * FEWER, variables)
    assert sum("others are not" in text for text in texts) == FEWER - 1
    assert contents(Path("found")) == contents(Path("whole"))


@pytest.mark.slow
def test_kubernetes_pods_at_once_write_the_bytes_of_one_build(tmp_path: Path) -> None:
    (tmp_path / "photographs").symlink_to(REPOSITORY / "examples" / "photographs")

    def small(words: Sequence[str]) -> list[str]:
        text = "\n".join(words)
        text = replaced(text, (f"/{JOBS}\n", f"/{FEWER}\n"), ("--part-size=500", "--part-size=2"))
        return [sys.executable, "-m", *text.split("\n")]

    pods = [small(words_of_pod(tmp_path, index)) for index in range(FEWER)]
    build_whole([word.replace("/built", "/whole") for word in pods[0][3:] if not word.startswith("--shard")])
    texts = run_at_once(pods, [{"JOB_COMPLETION_INDEX": str(index)} for index in range(FEWER)])
    assert sum("others are not" in text for text in texts) == FEWER - 1
    assert contents(tmp_path / "built") == contents(tmp_path / "whole")
