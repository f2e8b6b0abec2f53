"""A third-party distribution: the examples of docs/how-to/plugins.md, installed where only its tests see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.forks import Ended, ForkServer

Command = Callable[..., Ended]


def examples() -> dict[str, str]:
    """Return the files of the page by their names."""
    return {block.file: block.text for block in blocks("docs/how-to/plugins.md") if block.file is not None}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which the distribution is installed."""
    source, installed = tmp_path_factory.mktemp("my-lab"), tmp_path_factory.mktemp("installed")
    for name, text in {**examples(), "my_lab/__init__.py": ""}.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    (source / "my_lab" / "broken.py").write_text(BROKEN, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--target", str(installed), str(source)], check=True, capture_output=True)
    return installed


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    with ForkServer(os.environ) as started:
        yield started


@pytest.fixture
def command(server: ForkServer, lab: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run the command line in an empty folder, with the distribution installed."""
    output = tmp_path_factory.mktemp("output")
    (output / "cache").mkdir()
    return lambda *arguments: server.run(arguments, tmp_path, output, path=[str(lab)])


BROKEN = """
import numpy as np

from my_lab.heads import MyFamily

from datasetkit.core.detections import Detections, Segment
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import NounPhrase
from datasetkit.options.sources import SourceOptions


class Few:
    def detect(self, images, queries):
        return []


class Lost(MyFamily):
    def image_tokens(self, processor, config, size_hw):
        return 1 // 0


class Flat:
    def __call__(self, attention, coverage):
        return attention.flatten(2).sum(2)[0]


class Raising:
    def __call__(self, attention, coverage):
        raise KeyError("no")


class Emptying:
    def detect(self, images, queries):
        images.clear()
        return []


class Outside:
    def detect(self, images, queries):
        box = np.array([[1.0, 1.0, 1000.0, 9.0]])
        return [Detections(box, np.full((1, len(query.phrases)), 0.5)) for query in queries]


class Scored:
    def detect(self, images, queries):
        return [Detections(np.array([[1.0, 1.0, 10.0, 9.0]]), np.full((1, 7), 0.5)) for _ in images]


class Small:
    def segment(self, images, boxes):
        return [[Segment(Mask.from_array(np.ones((5, 5), bool)), None, None) for _ in of] for of in boxes]


class Wrong:
    def caption(self, images):
        return ["text" for _ in images]


class Raises:
    def refusal(self, record):
        raise KeyError("nothing here")


class Exits:
    def refusal(self, record):
        raise SystemExit(0)


class Talks:
    def refusal(self, record):
        print("talking")


class Maybe:
    def refusal(self, record):
        return True


class Overlapping:
    def find(self, text):
        return [NounPhrase(start, start + 4, "a", start, 1, False, False, False, True) for start in (0, 2)]


class Incomplete:
    pass


class Unmade:
    def __init__(self, options):
        raise RuntimeError("no license server")


class Clashing:
    class Options(SourceOptions):
        out: str = "mine"


class Outer:
    class Inner:
        def refusal(self, record):
            return "nested\\nin two lines"
"""
