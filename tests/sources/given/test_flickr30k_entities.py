"""Flickr30k Entities: chains, reasons, sentences of other images, files that are missing, an equal fingerprint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.given import NoLink
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Linker, PhraseStatus
from tests.conftest import REPOSITORY
from tests.sources.given.builders import image_bytes, one_reading, readings_of, write

SENTENCE = "[/EN#1/other A box] in [/EN#2/scene a room] with [/EN#0/notvisual love] and [/EN#3/other a hat] ."
BOXES = """<annotation>
<object><name>1</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>5</ymax></bndbox></object>
<object><name>2</name><scene>1</scene><nobndbox>0</nobndbox></object>
<object><name>3</name><scene>0</scene><nobndbox>1</nobndbox></object>
</annotation>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write(tmp_path / f"flickr30k-images/{number}.jpg", image_bytes(color=number))
        write(tmp_path / f"Sentences/{number}.txt", f"{SENTENCE}\nAnother sentence .\n")
        write(tmp_path / f"Annotations/{number}.xml", BOXES)
    unrelated = "".join(f"{number} {line}\n" for number in (1, 2, 3) for line in (2, 7, 9))
    write(tmp_path / "UNRELATED_CAPTIONS", f"# image sentence\n{unrelated}")
    return tmp_path


def test_chains_are_linked_or_keep_their_reason(folder: Path) -> None:
    for name in ("2", "3"):
        (folder / f"Sentences/{name}.txt").unlink()
    record = one_reading(folder, caption="all").record
    assert [item.box_xywh for item in record.objects] == [(0, 0, 9, 5)]
    assert [(phrase.text, phrase.object_ids, phrase.reason, phrase.score) for phrase in record.phrases] == [
        ("A box", (0,), None, None),
        ("a room", (), NoLink.SCENE, None),
        ("love", (), NoLink.NOT_VISUAL, None),
        ("a hat", (), NoLink.NO_BOX, None),
    ]
    assert {phrase.provenance for phrase in record.phrases} == {Linker.HUMAN}
    assert record.phrases[0].status is PhraseStatus.MATCHED


def test_image_without_annotations_is_dropped_alone(folder: Path) -> None:
    (folder / "Annotations/2.xml").unlink()
    first, second, third = readings_of(folder)
    assert isinstance(first, Reading)
    assert isinstance(second, UnusableError)
    assert second.reason is DropReason.MISSING
    assert isinstance(third, Reading)


def test_fingerprint_is_equal_in_every_process(folder: Path) -> None:
    script = "import sys; from pathlib import Path; from tests.sources.given.builders import source_of; "
    script += "print(source_of(Path(sys.argv[1])).fingerprint())"
    found = {
        subprocess.run(
            [sys.executable, "-c", script, str(folder)],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1
