"""Journals of unfinished builds that were damaged, or changed by others who can write to OUT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import OutputError
from datasetkit.export.output.found import BUILD
from datasetkit.export.output.opening import open_parts
from datasetkit.export.output.part import PartWriter
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.pipeline.builders import contents, folder_recipe, make_image, put

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return put(tmp_path / "in", {f"{number:02d}.png": make_image(number) for number in range(8)})


def run(images: Path, out: Path, **how: Any) -> None:
    build(folder_recipe(images, part_size=2), RunOptions(out=out, workers=1, **how))


@pytest.fixture
def half(tmp_path: Path, images: Path) -> Path:
    """An unfinished build, with the parts 0 and 2 of four."""
    run(images, tmp_path / "out", shard="0/2")
    return tmp_path / "out"


@pytest.fixture
def expected(tmp_path: Path, images: Path) -> dict[str, bytes]:
    run(images, tmp_path / "whole")
    return contents(tmp_path / "whole")


def change(path: Path, how: Change) -> None:
    value = json.loads(path.read_bytes())
    how(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("pattern", ["part-00002.*.parquet", "part-00002.*.jsonl", "part-00002.*.inputs"])
def test_part_that_lacks_a_file_is_built_again(
    half: Path, images: Path, expected: dict[str, bytes], pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = (half / ".build").glob(pattern)
    path.unlink()
    run(images, half, shard="1/2")
    run(images, half)
    assert contents(half) == expected
    assert f"{path} is missing or incomplete; part 2 is built again" in caplog.messages


def test_part_with_a_cut_shard_is_built_again(half: Path, images: Path, expected: dict[str, bytes]) -> None:
    (path,) = (half / ".build").glob("part-00002.*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    run(images, half)
    assert contents(half) == expected


@pytest.mark.parametrize("pattern", ["part-00002.*.jsonl", "part-00002.*.inputs"])
def test_changed_file_of_a_part_is_named_with_a_cure(
    half: Path, images: Path, expected: dict[str, bytes], pattern: str
) -> None:
    (path,) = (half / ".build").glob(pattern)
    path.write_bytes(b"{}\n")
    marker = half / ".build/part-00002.json"
    with pytest.raises(OutputError, match=f"{path} is damaged; delete {marker}, and run the same command"):
        run(images, half)
    marker.unlink()
    run(images, half)
    assert contents(half) == expected


@pytest.mark.parametrize(
    "how",
    [
        lambda marker: marker["part"]["shards"][0].update(path="../../victim.parquet"),
        lambda marker: marker["part"]["shards"][0].update(path="data/../../victim.parquet"),
        lambda marker: marker["part"]["shards"][0].update(split="../../escaped"),
        lambda marker: marker.update(attempt="x/../../../secret"),
        lambda marker: marker.update(ledger_sha256=None),
    ],
    ids=["path", "published path", "split", "attempt", "digest"],
)
def test_marker_that_leads_elsewhere_is_not_believed(
    half: Path, images: Path, expected: dict[str, bytes], how: Change
) -> None:
    victim = half.parent / "victim.parquet"
    victim.write_bytes(b"mine")
    change(half / ".build/part-00002.json", how)
    before = {path.name for path in half.parent.iterdir()}
    run(images, half)
    assert contents(half) == expected
    assert victim.read_bytes() == b"mine"
    assert {path.name for path in half.parent.iterdir()} - before <= {".out.inputs.jsonl", ".out.build.json"}


@pytest.mark.parametrize(
    "plan",
    [
        {"leaving": ["../victim"], "coming": []},
        {"leaving": [], "coming": ["../evil.txt"]},
        {"leaving": ["assets/../../victim"], "coming": []},
        {},
        [],
    ],
)
def test_plan_of_an_exchange_that_leads_elsewhere_is_refused(half: Path, images: Path, plan: Any) -> None:
    victim = put(half.parent / "victim", {"mine.txt": b"mine"})
    (half / ".build/new").mkdir()
    (half / ".build/evil.txt").write_bytes(b"evil")
    (half / ".build/exchange.json").write_text(json.dumps(plan))
    with pytest.raises(OutputError, match=f"{half} contains no build"):
        run(images, half)
    assert (victim / "mine.txt").read_bytes() == b"mine"
    assert not (half.parent / "evil.txt").exists()


@pytest.mark.parametrize("state", ["", "{}", "[]", None, {"task": "bogus"}, {BUILD: "../x"}])
def test_damaged_state_is_named_with_a_cure(half: Path, images: Path, expected: dict[str, bytes], state: Any) -> None:
    path = half / ".build/state.json"
    if isinstance(state, dict):
        change(path, lambda value: value.update(state))
    else:
        path.write_text(state or "\0")
    with pytest.raises(OutputError, match=rf"give another --out, or, if {path} .* was damaged, delete {path.parent}"):
        run(images, half)
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()
    run(images, half)
    assert contents(half) == expected


def test_jobs_that_see_another_source_are_refused(half: Path, images: Path) -> None:
    (images / "00a.png").write_bytes(make_image(99))
    with pytest.raises(OutputError, match="another state of the source, which has changed since then; run the command"):
        run(images, half, shard="1/2")
    run(images, half)
    run(images, half.parent / "whole")
    assert contents(half) == contents(half.parent / "whole")


def test_late_attempt_of_an_earlier_build_changes_nothing(half: Path, images: Path, expected: dict[str, bytes]) -> None:
    former = json.loads((half / ".build/state.json").read_bytes())[BUILD]
    late = PartWriter(open_parts(half, former), 1, overlay=False)
    late.__enter__()
    fresh = RunOptions(out=half, workers=1, overwrite=True)
    moments: list[int] = []

    def at_the_end(progress: Any) -> None:
        if progress.done == 6 and not moments:  # part 1 is complete
            moments.append(progress.done)
            late.__exit__(None, None, None)

    build(folder_recipe(images, part_size=2), fresh, at_the_end)
    assert moments
    assert contents(half) == expected


@pytest.mark.parametrize("out", ["out/.build", "out/.build/x"])
def test_folder_of_an_unfinished_build_is_no_out(half: Path, images: Path, out: str) -> None:
    with pytest.raises(OutputError, match="is in a folder in which unfinished builds are kept; give another --out"):
        run(images, half.parent / out)
