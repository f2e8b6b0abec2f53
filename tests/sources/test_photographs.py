"""The photographs of ``examples/``: their masks, licences and links, and what the aligner makes of their captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import datasetkit as dk
from datasetkit.core.record import Phrase, PhraseKind, PhraseStatus, Record
from tests.conftest import REPOSITORY
from tests.pipeline.builders import records

FOLDER = REPOSITORY / "examples" / "photographs"
MAX_BYTES = 1_000_000
MIN_IOU = 0.9
# The aligner's status where it is not the human one: captions by id, words, and the aligner's status and reason.
DIFFERENT = {
    ("1/3", "An espresso", "absent", "no_such_category"),  # the lexicon does not know that an espresso is coffee
    ("5/10", "a tall building", "ambiguous", "partly_annotated"),  # the source says that not every building is drawn
}
Json = dict[str, Any]


def read(name: str) -> Json:
    content: Json = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return content


def build(out: Path, captions: str) -> dict[str, Record]:
    built = dk.build(
        "coco",
        out,
        images=FOLDER,
        instances=FOLDER / "instances.json",
        captions=FOLDER / captions,
        caption="all",
        overlay=False,
    )
    assert built.verify().faults == ()
    return records(out)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The records that the aligner linked."""
    return build(tmp_path_factory.mktemp("aligned") / "out", "captions.json")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The records with the links of ``links.json``."""
    return build(tmp_path_factory.mktemp("linked") / "out", "links.json")


def masks_of(annotations: list[Json], sizes_hw: dict[int, tuple[int, int]]) -> dict[int, Json]:
    """Return the run-length masks of annotations by their ids."""
    found = {}
    for one in annotations:
        polygons = [[float(value) for value in polygon] for polygon in one["segmentation"]]
        found[one["id"]] = coco_mask.merge(coco_mask.frPyObjects(polygons, *sizes_hw[one["image_id"]]))
    return found


def both_drawings() -> tuple[dict[int, Json], dict[int, Json]]:
    instances = read("instances.json")
    sizes_hw = {image["id"]: (image["height"], image["width"]) for image in instances["images"]}
    first = masks_of(instances["annotations"], sizes_hw)
    return first, masks_of(read("second_drawing.json")["annotations"], sizes_hw)


def agreement() -> dict[int, float]:
    """Return how well the two drawings of each object agree, as intersection over union."""
    first, second = both_drawings()
    assert first.keys() == second.keys()
    return {one: float(coco_mask.iou([first[one]], [second[one]], [0])[0, 0]) for one in first}


def linked_ids(record: Record, phrase: Phrase) -> tuple[str, ...]:
    """Return the ids in the source of what a phrase names or may name."""
    by_id = {item.id: str(item.source_id) for item in record.objects}
    candidates = (candidate.object_id for candidate in phrase.candidates)
    return tuple(sorted(by_id[one] for one in (*phrase.object_ids, *candidates)))


def human_links() -> dict[tuple[str, int, int], Json]:
    return {
        (caption["record_id"], phrase["start"], phrase["end"]): phrase
        for caption in read("links.json")["annotations"]
        for phrase in caption["phrases"]
    }


def human_ids(phrase: Json) -> tuple[str, ...]:
    return tuple(sorted(map(str, (*phrase["annotation_ids"], *(one["annotation_id"] for one in phrase["candidates"])))))


def test_two_drawings_of_each_object_agree() -> None:
    assert {one: iou for one, iou in agreement().items() if iou < MIN_IOU} == {}


def test_the_two_drawings_are_not_the_same() -> None:
    assert max(agreement().values()) < 1.0


def test_the_readme_states_the_agreement_of_each_image() -> None:
    readme, ious = (FOLDER / "README.md").read_text(encoding="utf-8"), agreement()
    for image in read("instances.json")["images"]:
        own = [iou for one, iou in ious.items() if one // 100 == image["id"]]
        row = f"| `{image['file_name']}` | {len(own)} | {min(own):.2f} | {np.median(own):.2f} |"
        assert row in readme.splitlines()


def test_boxes_and_areas_are_those_of_the_masks() -> None:
    first, _ = both_drawings()
    for one in read("instances.json")["annotations"]:
        mask = first[one["id"]]
        assert (one["area"], one["bbox"]) == (int(coco_mask.area(mask)), coco_mask.toBbox(mask).tolist())


def test_images_are_small_and_of_the_stated_size() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for image in read("instances.json")["images"]:
        with Image.open(FOLDER / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])


def test_every_licence_reaches_its_record(aligned: dict[str, Record]) -> None:
    found = {record.image.name: record.source.license for record in aligned.values()}
    assert found == {
        "coffee.jpg": "cc0-1.0",
        "chelsea.png": "cc0-1.0",
        "astronaut.jpg": "public domain",
        "grace_hopper.jpg": "public domain",
        "camera.png": "cc0-1.0",
        "rocket.jpg": "public domain",
    }


def test_every_drawn_object_has_its_mask_in_the_records(aligned: dict[str, Record]) -> None:
    first, _ = both_drawings()
    areas = {item.source_id: item.area for record in aligned.values() for item in record.objects}
    assert areas == {str(one): int(coco_mask.area(mask)) for one, mask in first.items()}


def test_human_links_come_back_as_written(linked: dict[str, Record]) -> None:
    found = {
        (record.record_id, phrase.start, phrase.end): (phrase.text, phrase.status.value, linked_ids(record, phrase))
        for record in linked.values()
        for phrase in record.phrases
    }
    expected = {place: (one["text"], one["status"], human_ids(one)) for place, one in human_links().items()}
    assert found == expected


def test_captions_are_those_that_people_linked() -> None:
    captions, links = (read(name)["annotations"] for name in ("captions.json", "links.json"))
    assert captions == [{key: one[key] for key in ("id", "image_id", "caption")} for one in links]


def test_the_aligner_agrees_but_for_two_phrases(aligned: dict[str, Record]) -> None:
    """Words that are no objects, as "dusk", have no human link; pronouns are not linked by words."""
    human = {place: one for place, one in human_links().items() if one["kind"] == PhraseKind.NOUN}
    found = {
        (record.record_id, phrase.start, phrase.end): (record, phrase)
        for record in aligned.values()
        for phrase in record.phrases
        if phrase.status is not PhraseStatus.NOT_AN_OBJECT
    }
    assert found.keys() == human.keys()
    different = set()
    for place, (record, phrase) in found.items():
        ids, expected = linked_ids(record, phrase), human_ids(human[place])
        if phrase.status != human[place]["status"]:
            different.add((record.record_id, phrase.text, phrase.status.value, phrase.reason))
        elif phrase.status is PhraseStatus.AMBIGUOUS:
            assert set(expected) <= set(ids), phrase.text
        else:
            assert ids == expected, phrase.text
    assert different == DIFFERENT


def test_the_readme_states_how_many_links_are_right(aligned: dict[str, Record]) -> None:
    wanted = {
        (place, one)
        for place, phrase in human_links().items()
        for one in human_ids(phrase)
        if phrase["status"] == PhraseStatus.MATCHED and phrase["kind"] == PhraseKind.NOUN
    }
    found = {
        ((record.record_id, phrase.start, phrase.end), one)
        for record in aligned.values()
        for phrase in record.phrases
        for one in linked_ids(record, phrase)
        if phrase.status is PhraseStatus.MATCHED
    }
    right = len(found & wanted)
    figures = f"precision {right} of {len(found)}, recall {right} of {len(wanted)}"
    assert figures in (FOLDER / "README.md").read_text(encoding="utf-8")
