"""Folders of finished runs, and refusals of other folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.sparse import SparsePlan
from datasetkit.hi_scoring.sparse.folder import FINISHED_NAME, Sparsity, condition_folder
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME
from datasetkit.hi_scoring.sparse.results import FACTS_NAME, load_condition
from tests.hi_scoring.sparse.measured import bench_of, conditions
from tests.hi_scoring.tuned import some_examples


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; read-only."""
    folder = tmp_path_factory.mktemp("sparse") / "run"
    bench_of(examples=some_examples(1)).run(conditions(draws=2), folder)
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def test_finished_file_is_written_last(run: Path) -> None:
    assert json.loads((run / FINISHED_NAME).read_bytes()) == {"conditions": ["dense", "core", "random-0", "random-1"]}
    found = Sparsity.load(run)
    assert list(found.groups) == ["dense", "core", "random"]
    assert found.plan == SparsePlan.load(run) == SparsePlan.load(condition_folder(run, "core"))


def test_unfinished_conditions_do_not_count(copied: Path) -> None:
    (copied / FINISHED_NAME).write_text(json.dumps({"conditions": ["dense", "core", "random-1"]}))
    assert [one.draw for one in Sparsity.load(copied).groups["random"]] == [1]


def test_finishing_adds_conditions(copied: Path) -> None:
    (copied / FINISHED_NAME).write_text(json.dumps({"conditions": ["dense", "core", "random-1"]}))
    found = Sparsity.finish(copied, ["dense", "core", "random-0"])
    assert [one.draw for one in found.groups["random"]] == [0, 1]
    assert Sparsity.load(copied).costs["runs"].tolist() == [1, 1, 2]


def test_removed_conditions_are_no_longer_listed(copied: Path) -> None:
    shutil.rmtree(condition_folder(copied, "random-0"))
    with pytest.raises(BuiltFolderError, match="random-0 holds no finished condition"):
        Sparsity.load(copied)
    Sparsity.finish(copied, ["dense", "core"])
    assert [one.draw for one in Sparsity.load(copied).groups["random"]] == [1]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (FINISHED_NAME, "holds no finished run of `datasetkit sparsify`; run it to its end"),
        (PLAN_NAME, "holds no plan.json that can be read"),
        ("conditions/core/plan.json", "core holds no plan.json that can be read"),
        ("conditions/random-1/condition.json", "random-1 holds no finished condition of sparse prefill"),
        (
            "conditions/dense/prefills.parquet",
            "dense holds no finished condition of sparse prefill: prefills.parquet is missing",
        ),
    ],
)
def test_damaged_folders_are_refused(copied: Path, damaged: str, told: str) -> None:
    (copied / damaged).unlink()
    with pytest.raises(BuiltFolderError, match=told):
        Sparsity.load(copied)


def test_unmeasured_plan_is_refused(copied: Path) -> None:
    shutil.copy(condition_folder(copied, "random-0") / PLAN_NAME, copied / PLAN_NAME)
    with pytest.raises(BuiltFolderError, match="is not the plan that was measured"):
        Sparsity.load(copied)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is damaged: the whole is"),
        ("{}", "is damaged: conditions is missing"),
        ('{"conditions": 3}', "is damaged: conditions is 3: input should be a valid list"),
        ('{"conditions": ["../../x"]}', "is damaged: conditions.0 is"),
    ],
)
def test_finished_file_without_conditions_is_refused(copied: Path, content: str, told: str) -> None:
    (copied / FINISHED_NAME).write_text(content)
    with pytest.raises(BuiltFolderError, match=f"{FINISHED_NAME} {told}"):
        Sparsity.load(copied)


def test_results_without_the_core_heads_are_refused(copied: Path) -> None:
    (copied / FINISHED_NAME).write_text(json.dumps({"conditions": ["dense", "random-0"]}))
    with pytest.raises(BuiltFolderError, match="lacks the dense model's results or those of the CoRe heads"):
        Sparsity.load(copied)


def test_damaged_conditions_are_refused(tmp_path: Path) -> None:
    (tmp_path / FACTS_NAME).write_text(json.dumps({"samples": []}))
    with pytest.raises(BuiltFolderError, match="is damaged: group is missing; remove"):
        load_condition(tmp_path)
