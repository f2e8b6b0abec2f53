"""Parts of another distribution in real builds: by entry point, class and object; named in manifest and card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.builders import contents
from tests.plugins.conftest import Command

pytestmark = pytest.mark.slow

CLASSES = {
    "squares": "my_lab.source:Squares",
    "sizes": "my_lab.models:Sizes",
    "bright": "my_lab.models:Bright",
    "boxes": "my_lab.models:Boxes",
    "bright-masks": "my_lab.models:BrightMasks",
    "last-word": "my_lab.words:LastWord",
    "long": "my_lab.words:Long",
}
KINDS = {
    "squares": "source",
    "sizes": "captioner",
    "bright": "detector",
    "boxes": "segmenter",
    "bright-masks": "grounder",
    "last-word": "phrase finder",
    "long": "filter",
}


def manifest(out: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    return value


def arguments(named: Any) -> list[str]:
    source, captioner, detector, segmenter, _, finder, record_filter = map(named, CLASSES)
    return [
        *("build", source, "--count", "4", "--filters", f"{{name: '{record_filter}', words: 7}}", "--phrases", finder),
        *("--preset", "toyworld", "--captioner", captioner, "--set", "recaption=true"),
        *("--detector", detector, "--set", "detector.level=150", "--segmenter", segmenter, "--out", "out"),
    ]


@pytest.mark.parametrize("by", ["entry point", "class"])
def test_every_kind_of_part_takes_part_and_is_named(command: Command, tmp_path: Path, by: str) -> None:
    done = command(*arguments(lambda name: name if by == "entry point" else CLASSES[name]))
    assert done.returncode == 0, done.stderr
    found = manifest(tmp_path / "out")
    used = [name for name in CLASSES if name != "bright-masks"]
    reported = {
        (plugin["kind"], plugin["path"], plugin["distribution"], plugin["version"]) for plugin in found["plugins"]
    }
    assert reported == {(KINDS[name], CLASSES[name], "my-lab", "1.2") for name in used}
    assert found["splits"] == {"train": 4}


def test_a_whole_build_finds_what_the_plug_ins_find(command: Command, tmp_path: Path) -> None:
    done = command(
        *(
            "build",
            "squares",
            "--count",
            4,
            "--preset",
            "toyworld",
            "--detector",
            "bright-masks",
            "--segmenter",
            "none",
        ),
        *("--phrases", "last-word", "--filters", "long", "--out", "out"),
    )
    assert done.returncode == 0, done.stderr
    found = manifest(tmp_path / "out")
    assert found["splits"] == {"train": 4}
    assert {plugin["name"] for plugin in found["plugins"]} == {"squares", "bright-masks", "last-word", "long"}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| grounder | `my_lab.models:BrightMasks` | my-lab 1.2 |" in card
    assert command("verify", "out").returncode == 0
    again = command("build", "recipe", "out/recipe.yaml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert manifest(tmp_path / "again")["parts"] == found["parts"]


def test_what_a_filter_refuses_is_counted_and_in_the_ledger(command: Command, tmp_path: Path) -> None:
    assert command("build", "squares", "--out", "out", "--filters", "{name: long, words: 20}").returncode == 1
    assert manifest(tmp_path / "out")["tally"]["records"]["dropped"] == {"filtered": 3}
    assert "long: 9 words" in (tmp_path / "out" / "ledger.jsonl").read_text()


@pytest.mark.parametrize("name", ["pools", "my_lab.engine:Pools"])
def test_an_engine_builds_the_same_bytes_and_replaces_workers(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "lives").write_bytes(b"x")
    deadly = f"{{name: tests.fatal:Fatal, records: ['000002'], lives: {tmp_path / 'lives'}}}"
    arguments = ("build", "squares", "--count", 5, "--part-size", 2, "--filters", deadly)
    done = command(*arguments, "--engine", name, "--workers", 2, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "part 1 is built again: its worker was killed" in done.stderr
    assert command(*arguments, "--workers", 1, "--out", "whole").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {plugin["kind"] for plugin in manifest(tmp_path / "out")["plugins"]} == {"source", "filter"}


def test_help_of_a_source_has_its_options(command: Command) -> None:
    shown = command("build", "squares", "--help").stdout
    assert "Build from squares on black." in shown
    assert "--count N" in shown
    assert "Number of squares.  [default: 3]" in " ".join(shown.split()).replace(". [", ".  [")
    assert "squares" in command("build", "--help").stdout


def test_a_recipe_with_a_class_needs_allow_code(command: Command, tmp_path: Path) -> None:
    assert command("build", CLASSES["squares"], "--out", "out").returncode == 0
    refused = command("build", "recipe", "out/recipe.yaml", "--out", "again")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: out/recipe.yaml names my_lab.source:Squares, code that would run")
    assert not (tmp_path / "again").exists()
    assert command("build", "recipe", "out/recipe.yaml", "--out", "again", "--allow-code").returncode == 0


def test_reading_a_dataset_imports_nothing_from_its_manifest(command: Command, tmp_path: Path) -> None:
    assert command("build", CLASSES["squares"], "--out", "out").returncode == 0
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "__init__.py").write_text("raise SystemExit('was imported')")
    program = "import datasetkit as dk; b = dk.open('out'); b.verify(); b.stats(); b.card(); dk.load('out')"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            ("--detector", "my_lab.broken:Few"),
            "detector my_lab.broken:Few of my-lab 1.2: detect returned 0 items for 4",
        ),
        (
            ("--captioner", "my_lab.broken:Wrong", "--set", "recaption=true"),
            "captioner my_lab.broken:Wrong of my-lab 1.2: caption returned a str, not Caption",
        ),
        (
            ("--detector", "my_lab.broken:Emptying"),
            "detector my_lab.broken:Emptying of my-lab 1.2 failed: Attribute",
        ),
        (
            ("--detector", "my_lab.broken:Outside"),
            "detect returned the box [1.0, 1.0, 1000.0, 9.0], outside of 96 x 64 px",
        ),
        (("--detector", "my_lab.broken:Scored"), "detect returned scores of shape (1, 7) for 1 phrases"),
        (("--detector", "bright", "--segmenter", "my_lab.broken:Small"), "a mask whose size is not 64 x 96 px"),
        (
            ("--phrases", "my_lab.broken:Overlapping"),
            "find returned spans [(0, 4), (2, 6)]; they must be rising and within",
        ),
        (("--filters", "my_lab.broken:Maybe"), "refusal returned a bool, not str or None"),
        (("--filters", "my_lab.broken:Exits"), "filter my_lab.broken:Exits of my-lab 1.2 failed: SystemExit: 0"),
        (("--filters", "sys:exit"), "filter sys:exit failed: SystemExit"),
        (("--filters", "{name: long, wrods: 3}"), "wrods: there is no such option; known: words"),
        (("--filters", "my_lab.broken.none:X"), "filter my_lab.broken.none:X of my-lab 1.2 cannot be imported"),
        (("--filters", "my_lab.broken:Raises"), "filter my_lab.broken:Raises of my-lab 1.2 failed: KeyError"),
        (("--segmenter", "my_lab.broken:Incomplete"), "segmenter my_lab.broken:Incomplete of my-lab 1.2 has no method"),
        (
            ("--phrases", "my_lab.broken:Unmade"),
            "phrase finder my_lab.broken:Unmade of my-lab 1.2 failed: RuntimeError",
        ),
        (
            ("--filters", "my_lab.nothing:X"),
            "filter my_lab.nothing:X of my-lab 1.2 cannot be imported: ModuleNotFoundError",
        ),
        (("--filters", "lang"), "no filter is called 'lang'; known: long"),
        (("--set", "detector.name=bright", "--set", "detector.level=300"), "less than or equal to 255 (came: 300)"),
    ],
)
def test_a_broken_part_ends_in_one_line_that_names_it(command: Command, broken: tuple[str, ...], message: str) -> None:
    done = command("build", "squares", "--count", 4, "--preset", "toyworld", *broken, "--out", "out")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if not line.startswith(("loading", "warning"))]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    "recipe",
    [
        "source: my_lab.source:Squares",
        "source: {name: squares}\nfilters: [my_lab.words:Long]",
        "source: {name: squares}\nfilters: ['{name: my_lab.words:Long}']",
        "source: {name: folder, folder: 'weird://bucket/prefix'}",
        "source: {name: squares}\nphrases: my_lab.words:LastWord",
        "a: &a {name: my_lab.models:Bright}\nsource: {name: squares}\ngrounding: {detector: *a, segmenter: boxes}",
    ],
)
def test_no_form_of_a_class_in_a_file_is_imported(command: Command, tmp_path: Path, recipe: str) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe)
    done = command("build", "recipe", "recipe.yaml", "--out", "out")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "give --allow-code" in done.stderr


def test_a_preset_of_a_file_needs_allow_code_as_well(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("detector: {name: my_lab.models:Bright}\nsegmenter: boxes\n")
    arguments = ("build", "squares", "--preset", "mine.yaml", "--out", "out")
    assert "give --allow-code" in command(*arguments).stderr
    assert command(*arguments, "--allow-code").returncode == 0


def test_what_a_part_prints_is_not_in_the_way_of_json(command: Command) -> None:
    done = command("build", "squares", "--filters", "my_lab.broken:Talks", "--json", "--out", "out")
    assert json.loads(done.stdout)["records"] == 3
    assert "talking" in done.stderr


def test_options_of_a_source_do_not_hide_those_of_a_build(command: Command) -> None:
    done = command("build", "my_lab.broken:Clashing", "--out", "out")
    assert done.returncode == 1
    assert "out is an option of every build; rename it" in done.stderr


def test_a_part_whose_file_has_changed_makes_another_build(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Keep:\n    def refusal(self, record):\n        return None\n")
    arguments = ("build", "squares", "--filters", "mine:Keep", "--out", "out")
    assert command(*arguments).returncode == 0
    (tmp_path / "mine.py").write_text("class Keep:\n    def refusal(self, record):\n        return 'no'\n")
    done = command(*arguments)
    assert done.returncode == 1
    assert "only one of them uses filter mine:Keep" in done.stderr
