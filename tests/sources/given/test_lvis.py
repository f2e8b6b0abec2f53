"""LVIS: names, synonyms, negatives, categories that are not exhaustive, captions of another file, broken entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Maker, Phrase, PhraseStatus
from datasetkit.options.recipe import Recipe
from tests.pipeline.builders import built
from tests.sources.given.builders import SIZE_WH, boxes_of, image_bytes, one_reading, readings_of, source_of, write

CATEGORIES = [
    {"id": 1, "name": "traffic_cone", "synonyms": ["traffic_cone", "pylon"]},
    {"id": 2, "name": "triangle_(musical_instrument)", "synonyms": ["triangle_(musical_instrument)"]},
    {"id": 3, "name": "bow_(weapon)", "synonyms": ["bow_(weapon)", "longbow"]},
    {"id": 4, "name": "bow_(decorative_ribbons)", "synonyms": ["bow_(decorative_ribbons)"]},
    {"id": 5, "name": "banana", "synonyms": ["banana"]},
]
SQUARE = [[4, 4, 14, 4, 14, 14, 4, 14]]


def lvis_image(number: int, negatives: Any = (), partial: Any = (), **more: Any) -> dict[str, Any]:
    entry = {"id": number, "width": SIZE_WH[0], "height": SIZE_WH[1]}
    entry |= {"coco_url": f"http://images.cocodataset.org/train2017/{number}.png"}
    return entry | {"neg_category_ids": list(negatives), "not_exhaustive_category_ids": list(partial)} | more


def lvis_object(number: int, image: int, category: int, **more: Any) -> dict[str, Any]:
    shape = {"bbox": [4, 4, 10, 10], "segmentation": SQUARE}
    return {"id": number, "image_id": image, "category_id": category} | shape | more


def lvis(folder: Path, images: list[Any], annotations: list[Any], captions: dict[int, str] | None = None) -> Path:
    for entry in images:
        if isinstance(entry, dict):
            write(folder / f"train2017/{entry['id']}.png", image_bytes(color=int(entry["id"])))
    texts = [{"id": 7 * image, "image_id": image, "caption": text} for image, text in (captions or {}).items()]
    entries = [{"id": image, "file_name": f"{image}.png"} for image in captions or {}]
    write(folder / "captions.json", json.dumps({"images": entries, "annotations": texts}))
    data = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    return write(folder / "lvis_v1_val.json", json.dumps(data))


def aligned(reading: Reading) -> dict[str, Phrase]:
    aligner = KnownObjectAligner(objects_known=False)
    record = aligner.align(reading.record, reading.synonyms, is_searched=reading.is_searched)
    return {phrase.text: phrase for phrase in record.phrases}


def test_names_lose_sense_and_underscores(tmp_path: Path) -> None:
    objects = [lvis_object(number, 1, number) for number in range(1, 5)]
    record = one_reading(lvis(tmp_path, [lvis_image(1)], objects)).record
    named = ["traffic cone", "triangle", "bow (weapon)", "bow (decorative ribbons)"]
    assert [item.category for item in record.objects] == named
    assert {item.provenance.mask for item in record.objects} == {Maker.HUMAN}
    assert [item.area for item in record.objects] == [100] * 4


def test_split_is_that_of_the_file(tmp_path: Path) -> None:
    (entry,) = source_of(lvis(tmp_path, [lvis_image(1)], [])).entries()
    assert entry.split == "validation"


def test_captions_and_synonyms(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1)], [lvis_object(1, 1, 1)], {1: "an orange pylon"})
    reading = one_reading(place, captions=tmp_path / "captions.json")
    phrase = aligned(reading)["an orange pylon"]
    assert (phrase.status, phrase.object_ids) == (PhraseStatus.MATCHED, (0,))


def test_build_aligns_with_synonyms_and_searched_images(tmp_path: Path) -> None:
    texts = {1: "an orange pylon", 2: "a cat"}
    place = lvis(tmp_path, [lvis_image(1), lvis_image(2)], [lvis_object(1, 1, 1)], texts)
    source = {"name": "from", "place": str(place), "captions": str(tmp_path / "captions.json")}
    _, records = built(Recipe.checked({"source": source}), tmp_path / "out")
    phrases = [records[name].phrases[0] for name in ("1", "2")]
    assert [(one.object_ids, one.reason) for one in phrases] == [((0,), None), ((), "no_instance")]


def test_folder_of_captions(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1)], [], {1: "a cat"})
    write(tmp_path / "texts/captions_train2017.json", (tmp_path / "captions.json").read_bytes())
    write(tmp_path / "texts/instances.json", place.read_bytes())
    assert one_reading(place, captions=tmp_path / "texts").record.description == "a cat"


@pytest.mark.parametrize("data", ['{"images": [], "annotations": [{"id": 1}]}', "[", ""])
def test_file_without_captions_is_refused(tmp_path: Path, data: str) -> None:
    place = lvis(tmp_path, [lvis_image(1)], [])
    with pytest.raises(SourceError, match="captions"):
        source_of(place, captions=write(tmp_path / "other.json", data))


def test_negative_is_absent_for_certain(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1, negatives=[5, 1])], [], {1: "a banana and a cat"})
    reading = one_reading(place, captions=tmp_path / "captions.json")
    assert reading.record.absent_categories == ("banana", "traffic cone")
    phrases = aligned(reading)
    assert {name: (one.status, one.reason) for name, one in phrases.items()} == {
        "a banana": (PhraseStatus.ABSENT, "checked_absent"),
        "a cat": (PhraseStatus.ABSENT, "no_instance"),
    }


def test_negative_with_an_object_is_not_absent(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1, negatives=[1])], [lvis_object(1, 1, 1)])
    assert one_reading(place).record.absent_categories == ()


def test_not_exhaustive_category_gives_no_certainty(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1, partial=[1])], [lvis_object(1, 1, 1)], {1: "a traffic cone"})
    reading = one_reading(place, captions=tmp_path / "captions.json")
    assert reading.record.partial_categories == ("traffic cone",)
    phrase = aligned(reading)["a traffic cone"]
    assert (phrase.status, phrase.reason, phrase.score) == (PhraseStatus.AMBIGUOUS, "partly_annotated", None)


def test_file_name_where_there_is_no_url(tmp_path: Path) -> None:
    image = lvis_image(1, file_name="train2017/1.png", coco_url="")
    assert len(list(readings_of(lvis(tmp_path, [image], [])))) == 1


@pytest.mark.parametrize("broken", [7, {"id": None, "coco_url": "x"}, {"width": 3}])
def test_broken_image_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    images = [lvis_image(1), broken, lvis_image(2)]
    place = lvis(tmp_path, [images[0], images[2]], [])
    write(place, json.dumps({"images": images, "annotations": [], "categories": CATEGORIES}))
    first, second, third = readings_of(place)
    assert isinstance(second, UnusableError)
    assert second.reason is DropReason.BAD_ENTRY
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)


def test_broken_segmentation_leaves_the_box(tmp_path: Path) -> None:
    reading = one_reading(lvis(tmp_path, [lvis_image(1)], [lvis_object(1, 1, 1, segmentation=[[1, 2]])]))
    assert boxes_of(reading) == [(4, 4, 10, 10)]
    assert [item.mask for item in reading.record.objects] == [None]


def test_broken_file_is_one_error(tmp_path: Path) -> None:
    place = lvis(tmp_path, [lvis_image(1)], [])
    write(place, place.read_bytes()[:-40])
    with pytest.raises(SourceError):
        source_of(place)
