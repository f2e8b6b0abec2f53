"""From images and words to key objects: labels, accounts, scores, and models that fail."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from datasetkit.annotation.alignment.categories import category_of
from datasetkit.annotation.describing import Describer
from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.annotation.similarity import ImageTextCropScorer, crop_of
from datasetkit.core.detections import Box, Caption
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import CropScorer, Detector, Reading, Segmenter
from datasetkit.core.record import (
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Provenance,
    Question,
    Record,
    Scores,
)
from datasetkit.core.schema import record_to_row, row_to_record
from datasetkit.options import GroundingOptions
from datasetkit.options.models import GroundingDinoOptions, SamOptions, SimilarityOptions
from datasetkit.runtime.checkpoints import resolve
from tests.annotation.models_by_hand import (
    Memory,
    TableCaptioner,
    TableCropScorer,
    TableDetector,
    TableSegmenter,
    filled,
)
from tests.annotation.strategies import SIDE_PX, boxes_xyxy
from tests.annotation.tiny_clip import save_image_text_model

SIZE_HW = (40, 40)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CAT: Box = (0.0, 0.0, 20.0, 20.0)
DOG: Box = (24.0, 24.0, 36.0, 36.0)
SAY_ALL = {"box_share_max": 1.0, "cleaning_iou_min": 0.0}


def options(**more: Any) -> GroundingOptions:
    models: dict[str, Any] = {
        "captioner": {"name": "image-text-to-text", "model": "none"},
        "detector": {"name": "owlv2", "model": "none"},
        "segmenter": {"name": "sam", "model": "none"},
    }
    return GroundingOptions.model_validate({**models, **more})


def reading(
    description: str | None, colour: tuple[int, int, int] = RED, record_id: str = "1/1", **more: Any
) -> Reading:
    size_hw = more.pop("size_hw", SIZE_HW)
    image = EncodedImage(b"unread", "one.png", size_hw[1], size_hw[0])
    record = Record(record_id, "1", image, description, Provenance("one.png", "unknown", "0" * 64), **more)
    return Reading(record, Image.new("RGB", (size_hw[1], size_hw[0]), colour))


def annotator(detector: Detector, segmenter: Segmenter | None = None, batch: int = 4, **more: Any) -> GroundedAnnotator:
    parts = {name: more.pop(name) for name in ("captioner", "crop_scorer", "key_max", "crop_batch") if name in more}
    chosen = options(**more)
    if (captioner := parts.pop("captioner", None)) is not None:
        parts["describer"] = Describer(captioner, recaption=chosen.recaption, batch=batch)
    grounder = BoxesThenMasks(detector, segmenter or TableSegmenter(), detector_batch=batch, segmenter_batch=batch)
    return GroundedAnnotator(chosen, finder=NounPhraseFinder(), grounder=grounder, **parts)


def noise(size_hw: tuple[int, int], seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8))


def by_table(table: Mapping[Box, Mapping[str, float]]) -> TableDetector:
    return TableDetector(tuple(table), lambda box, phrase: table[box].get(phrase, 0.0))


def annotated(annotator: GroundedAnnotator, item: Reading) -> Reading:
    (result,) = annotator.annotate([item])
    assert isinstance(result, Reading)
    return result


def dropped(result: Reading) -> dict[str, DropReason]:
    assert all(drop.scope == "detection" for drop in result.drops)
    reasons = {drop.item_id: drop.reason for drop in result.drops}
    assert len(reasons) == len(result.drops), "a detection is dropped once"
    return reasons


def check(result: Reading) -> None:
    """Check what holds for any image and any words."""
    record = result.record
    text = record.description or ""
    assert row_to_record(record_to_row(record)) == record
    assert [item.id for item in record.objects] == list(range(len(record.objects)))
    assert len(record.objects) + len(dropped(result)) == result.detections
    names = set(dropped(result))
    assert names <= {f"{record.record_id}#{number}" for number in range(result.detections)}
    for phrase in record.phrases:
        assert phrase.text == text[phrase.start : phrase.end]
        assert phrase.text.strip() == phrase.text != ""
        assert "##" not in phrase.text
        assert phrase.status is not PhraseStatus.NOT_AN_OBJECT or not (phrase.object_ids or phrase.candidates)
    ends = [0, *(phrase.end for phrase in record.phrases)]
    assert all(end <= phrase.start for end, phrase in zip(ends, record.phrases, strict=False))
    for item in record.objects:
        naming = [
            phrase
            for phrase in record.phrases
            if item.id in phrase.object_ids or item.id in {candidate.object_id for candidate in phrase.candidates}
        ]
        said = {
            category_of(noun) for noun in NounPhraseFinder().find(text) if noun.start in {one.start for one in naming}
        }
        assert item.category in said
        matched = any(item.id in phrase.object_ids for phrase in naming)
        assert item.status is (ObjectStatus.MENTIONED if matched else ObjectStatus.CANDIDATE)


WORDS = (
    "a cat", "two dogs", "the red car", "people", "a group of men", "no stars", "it", "another cat", "woman", "and",
    "on", "with", "##", "##ing", "a ##cat", "[UNK]", "[SEP]", " . ", ".", "!?", "...", "\n", "\x00", "\x1b", "\u200d",
    "\u202e", "\ud83d", "\udc00", "😀", "👩‍👩‍👧", "猫と犬", "قطة كبيرة", "e\u0301lan", "ﬁsh", "İ", "1" * 12,
)  # fmt: skip
CAPTIONS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=12).map("".join),
    st.text(st.characters(), max_size=40),
    st.text(st.characters(categories=["P", "S", "C"]), max_size=20),
    st.integers(0, 100).map(lambda count: ", ".join(f"a {'big ' * (n % 3)}cat" for n in range(count))),
    st.integers(90, 100).map(lambda count: " ".join(f"a x{n}y ." for n in range(count))),
)


def coarse(salt: int) -> Callable[[Box, str], float]:
    """Return random scores with many ties and zeros, the same for the same box and phrase."""
    return lambda box, phrase: zlib.crc32(f"{salt}{box}{phrase}".encode(errors="surrogatepass")) % 6 / 5


@given(
    CAPTIONS,
    st.lists(boxes_xyxy(), max_size=8),
    st.integers(0, 9),
    st.sampled_from(["phrases", "caption"]),
    st.sampled_from(["drop", "keep"]),
    st.booleans(),
)
@example("a ##cat and two dog##s", [(0.0, 0.0, 4.0, 4.0), (4.0, 4.0, 8.0, 8.0)], 1, "caption", "keep", True)
@example("\ud800 a cat 😀 a cat", [(0.0, 0.0, 4.0, 4.0), (2.0, 2.0, 8.0, 8.0)], 2, "phrases", "drop", False)
@settings(max_examples=40)
def test_any_words_account_for_every_detection(
    caption: str, boxes: Sequence[Box], salt: int, prompt: str, groups: str, lenient: bool
) -> None:
    chance = coarse(salt)
    masks = {box: None for box in boxes if chance(box, "is empty") == 1.0}
    chosen: dict[str, Any] = {
        "links": {"prompt": prompt},
        "duplicates": {"groups": groups},
        "filters": SAY_ALL if lenient else {"predicted_iou_min": 0.5, "area_share_min": 0.05},
    }
    given = reading(caption or None, size_hw=(SIDE_PX, SIDE_PX))
    made = [annotator(TableDetector(boxes, chance), TableSegmenter(masks), **chosen) for _ in range(2)]
    result = annotated(made[0], given)
    check(result)
    assert result.record.description == given.record.description
    assert result.detections in (0, len(boxes))
    assert annotated(made[1], given) == result


@given(st.lists(CAPTIONS, min_size=2, max_size=5), st.lists(boxes_xyxy(), max_size=5), st.integers(1, 4))
@settings(max_examples=12)
def test_result_does_not_depend_on_the_batch(captions: Sequence[str], boxes: Sequence[Box], batch: int) -> None:
    given = [
        reading(caption or None, size_hw=(SIDE_PX, SIDE_PX), record_id=f"{number}")
        for number, caption in enumerate(captions)
    ]
    together = annotator(TableDetector(boxes, coarse(0)), batch=batch).annotate(given)
    assert together == [annotated(annotator(TableDetector(boxes, coarse(0))), item) for item in given]


@pytest.fixture(scope="module")
def shipped() -> GroundedAnnotator:
    detector = GroundingDinoDetector(GroundingDinoOptions(model=resolve("toyworld:detector"), score_min=0.05))
    links = {"score_min": 0.05}
    return annotator(detector, SamSegmenter(SamOptions(model=resolve("toyworld:segmenter"))), links=links)


@given(CAPTIONS, st.integers(0, 9))
@example("a red star and ##", 0)
@example("\ud83d a red star \x00\ufffd", 1)
@example(" ".join(f"a red star {'I' * (n % 7)} ." for n in range(100)), 2)
@settings(max_examples=6)
@pytest.mark.slow
def test_real_models_read_any_words(shipped: GroundedAnnotator, caption: str, seed: int) -> None:
    size_hw = (48 + seed, 64)
    pixels = noise(size_hw, seed)
    pixels.paste(RED, (8, 8, 30, 30))
    check(annotated(shipped, replace(reading(caption or None, size_hw=size_hw), pixels=pixels)))


def removal(reason: DropReason, text: str, table: dict[Box, dict[str, float]], number: int, **more: Any) -> Any:
    return pytest.param(reason, text, table, number, more, id=reason.value)


TWO = "a cat and a dog"
BOTH = {CAT: {"a cat": 0.9}, DOG: {"a dog": 0.8}}
HALF: Box = (0.0, 0.0, 20.0, 10.0)
REMOVALS = [
    removal(DropReason.EMPTY_MASK, TWO, BOTH, 1, masks={DOG: None}),
    removal(
        DropReason.DUPLICATE_MASK,
        TWO,
        {**BOTH, HALF: {"a dog": 0.5}},
        2,
        masks={HALF: filled(CAT, size_hw=SIZE_HW)},
    ),
    removal(DropReason.CONTAINED_MASK, TWO, {**BOTH, HALF: {"a cat": 0.5}}, 2),
    removal(
        DropReason.GROUP_BOX,
        "two cats",
        {CAT: {"two cats": 0.9}, DOG: {"two cats": 0.8}, (0.0, 0.0, 36.0, 36.0): {"two cats": 0.95}},
        0,
    ),
    removal(DropReason.WHOLE_IMAGE, TWO, {**BOTH, (0.0, 0.0, 40.0, 39.0): {"a dog": 0.95}}, 0),
    removal(DropReason.TOO_SMALL, TWO, BOTH, 1, filters={"area_share_min": 0.1}),
    removal(DropReason.LOW_DETECTION, TWO, BOTH, 1, filters={"detection_min": 0.85}),
    removal(DropReason.LOW_PREDICTED_IOU, "a dog", {DOG: {"a dog": 0.8}}, 0, filters={"predicted_iou_min": 0.9}),
    removal(DropReason.LOW_STABILITY, "a dog", {DOG: {"a dog": 0.8}}, 0, filters={"stability_min": 0.8}),
    removal(
        DropReason.LOW_SIMILARITY,
        "a dog",
        {DOG: {"a dog": 0.8}},
        0,
        filters={"similarity_min": 0.5},
        crop_scorer=TableCropScorer(0.25),
    ),
    removal(
        DropReason.LOW_CLEANING_IOU,
        TWO,
        BOTH,
        1,
        masks={DOG: filled((24.0, 24.0, 36.0, 30.0), (24.0, 33.0, 36.0, 36.0), size_hw=SIZE_HW)},
        cleaning={"island_share": 0.5},
        filters={"cleaning_iou_min": 0.7},
    ),
    removal(DropReason.NAMED_BY_NO_PHRASE, TWO, {**BOTH, (30.0, 0.0, 40.0, 10.0): {"a dog": 0.2}}, 2),
]


@pytest.mark.parametrize(("reason", "text", "table", "number", "more"), REMOVALS)
def test_each_reason_removes_only_its_detection(
    reason: DropReason, text: str, table: dict[Box, dict[str, float]], number: int, more: dict[str, Any]
) -> None:
    more = dict(more)
    segmenter = TableSegmenter(more.pop("masks", {}))
    result = annotated(annotator(by_table(table), segmenter, **more), reading(text))
    check(result)
    assert dropped(result) == {f"1/1#{number}": reason}
    assert result.drops[0].detail
    assert result.detections == len(table)


def test_every_reason_has_a_case() -> None:
    reasons = list(DropReason)
    assert {case.values[0] for case in REMOVALS} == set(
        reasons[reasons.index(DropReason.EMPTY_MASK) : reasons.index(DropReason.NAMED_BY_NO_PHRASE) + 1]
    )


def test_kept_groups_are_crowds() -> None:
    group: Box = (0.0, 0.0, 36.0, 36.0)
    table = {CAT: {"cats": 0.9}, DOG: {"cats": 0.8}, group: {"cats": 0.95}}
    result = annotated(annotator(by_table(table), duplicates={"groups": "keep"}), reading("cats"))
    check(result)
    crowds = {item.source_bbox: item.is_crowd for item in result.record.objects}
    assert crowds[0.0, 0.0, 36.0, 36.0]
    assert not any(is_crowd for box, is_crowd in crowds.items() if box != (0.0, 0.0, 36.0, 36.0))


def test_measured_scores_boxes_and_labels_are_kept() -> None:
    beside: Box = (0.0, 0.0, 20.0, 19.0)
    # 120 px of which 96 stay.
    ragged = filled((24.0, 24.0, 36.0, 32.0), (24.0, 34.0, 36.0, 36.0), size_hw=SIZE_HW)
    table = {CAT: {"a cat": 0.9, "an animal": 0.123456789}, beside: {"an animal": 0.25}, DOG: {"a dog": 0.8}}
    made = annotator(
        by_table(table),
        TableSegmenter({DOG: ragged}, predicted_iou=0.123456789, stability=None),
        crop_scorer=TableCropScorer(1 / 3),
        cleaning={"island_share": 0.3},
    )
    cat, dog = annotated(made, reading("a cat, a dog")).record.objects
    assert cat.scores == Scores(0.9, 0.1235, None, 0.3333, 1.0)
    assert dog.scores == Scores(0.8, 0.1235, None, 0.3333, 0.8)
    assert (cat.category, dog.category) == ("cat", "dog")
    assert (cat.source_bbox, dog.source_bbox) == ((0.0, 0.0, 20.0, 20.0), (24.0, 24.0, 12.0, 12.0))
    assert cat.mask == filled(CAT, size_hw=SIZE_HW)
    assert dog.mask == filled((24.0, 24.0, 36.0, 32.0), size_hw=SIZE_HW)


def test_category_is_that_of_the_best_phrase() -> None:
    table = {CAT: {"The animal": 0.7, "the cat": 0.9}}
    (cat,) = annotated(annotator(by_table(table)), reading("The animal is the cat.")).record.objects
    assert cat.category == "cat"


def test_masks_stay_without_cleaning() -> None:
    ragged = filled((24.0, 24.0, 36.0, 35.0), (38.0, 38.0, 39.0, 39.0), size_hw=SIZE_HW)
    made = annotator(by_table({DOG: {"a dog": 0.8}}), TableSegmenter({DOG: ragged}), cleaning=None)
    (dog,) = annotated(made, reading("a dog")).record.objects
    assert dog.mask == ragged
    assert dog.scores.cleaning_iou is None


def test_crops_are_compared_with_their_phrases(tmp_path: Path) -> None:
    scorer = ImageTextCropScorer(SimilarityOptions(model=str(save_image_text_model(tmp_path, "clip"))))
    pixels = noise(SIZE_HW, 0)
    pixels.paste(RED, (0, 0, 12, 20))
    boxes = {CAT: "a red star", DOG: "cat"}
    made = annotator(by_table({box: {phrase: 0.9} for box, phrase in boxes.items()}), crop_scorer=scorer, crop_batch=1)
    result = annotated(made, replace(reading("a red star, cat"), pixels=pixels))
    crops = [crop_of(pixels, box) for box in boxes]
    own = scorer.score(crops, list(boxes.values())).tolist()
    swapped = scorer.score(crops[::-1], list(boxes.values())).tolist()
    assert own != pytest.approx(swapped, abs=1e-3), "the crops tell the test nothing"
    assert [item.scores.similarity for item in result.record.objects] == pytest.approx(own, abs=1e-4)


def test_crop_scorer_out_of_memory_drops_the_record() -> None:
    scorer = TableCropScorer(0.5, Memory(most=1))
    result = annotated(annotator(by_table(BOTH), crop_scorer=scorer), reading(TWO))
    assert [item.scores.similarity for item in result.record.objects] == [0.5, 0.5]
    assert scorer.memory.asked == [2, 1, 1]
    made = annotator(by_table(BOTH), crop_scorer=TableCropScorer(0.5, Memory(most=0)))
    results = made.annotate([reading(TWO), reading("!?", record_id="2")])
    assert isinstance(results[0], Drop)
    assert (results[0].scope, results[0].item_id, results[0].reason) == ("record", "1/1", DropReason.OUT_OF_MEMORY)
    assert isinstance(results[1], Reading)


def captioned(captions: Mapping[tuple[int, ...], Caption], memory: Memory | None = None, **more: Any) -> Any:
    captioner = TableCaptioner(captions, memory or Memory())
    return captioner, annotator(by_table(BOTH), captioner=captioner, **more)


def test_only_undescribed_images_are_described() -> None:
    captioner, made = captioned({GREEN: Caption("a dog", is_cut=True), BLUE: Caption("")})
    given = [reading("a cat"), reading(None, GREEN, "2"), reading(None, BLUE, "3")]
    results = made.annotate(given)
    assert captioner.memory.asked == [2]
    assert [result.record.description for result in results] == ["a cat", "a dog", None]
    assert [[item.category for item in result.record.objects] for result in results] == [["cat"], ["dog"], []]
    assert [result.notices for result in results] == [
        (),
        (Notice("2", NoticeKind.CAPTIONED), Notice("2", NoticeKind.CAPTION_CUT)),
        (),
    ]
    for result in results:
        check(result)
    assert results[2].detections == 0, "an image without words has no query"


def test_every_batch_is_whole_again_in_the_next_part() -> None:
    memory = Memory(most=1)
    captions = {RED: Caption(TWO)}
    segmenter = TableSegmenter(memory=memory)
    models = (TableCaptioner(captions, memory), TableCropScorer(0.5, memory))
    made = annotator(by_table(BOTH), segmenter, captioner=models[0], crop_scorer=models[1])
    given = [reading(None, RED, "1"), reading(None, RED, "2")]
    first = made.annotate(given)
    begun = [2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1]
    assert memory.asked == begun, "captions, masks, crops of the first, crops of the second image"
    assert made.annotate(given) == first
    assert memory.asked[len(begun) :] == begun


def test_recaption_replaces_description_and_phrases() -> None:
    old = Phrase("a cat", 0, 5)
    _, made = captioned({RED: Caption("dog")}, recaption=True)
    result = annotated(made, reading("a cat", phrases=(old,)))
    check(result)
    assert result.record.description == "dog"
    assert [phrase.text for phrase in result.record.phrases] == ["dog"]


def test_empty_caption_keeps_the_description() -> None:
    _, made = captioned({RED: Caption("")}, recaption=True)
    result = annotated(made, reading("a cat"))
    assert result.record.description == "a cat"
    assert result.notices == ()


def test_only_the_undescribable_image_is_dropped() -> None:
    captions = {RED: Caption("a cat"), BLUE: Caption("a dog")}
    captioner, made = captioned(captions, Memory(never=frozenset([GREEN])))
    results = made.annotate([reading(None, colour, name) for colour, name in ((RED, "1"), (GREEN, "2"), (BLUE, "3"))])
    assert captioner.memory.asked[:2] == [3, 1]
    assert isinstance(results[1], Drop)
    assert (results[1].scope, results[1].item_id, results[1].reason) == ("record", "2", DropReason.OUT_OF_MEMORY)
    assert [results[place].record.description for place in (0, 2)] == ["a cat", "a dog"]
    assert [results[place].record.objects[0].category for place in (0, 2)] == ["cat", "dog"]


def test_only_the_undetectable_image_is_dropped() -> None:
    detector = replace(by_table(BOTH), unusable=frozenset([GREEN]))
    given = [reading(TWO, colour, name) for colour, name in ((RED, "1"), (GREEN, "2"), (BLUE, "3"))]
    results = annotator(detector).annotate(given)
    assert results[1] == Drop("record", "2", DropReason.NOT_FINITE, "a test's image")
    assert [results[0], results[2]] == annotator(by_table(BOTH)).annotate([given[0], given[2]])


def test_old_objects_are_replaced_but_questions_stay() -> None:
    old = KeyObject(7, filled(DOG, size_hw=SIZE_HW), "human", status=ObjectStatus.UNMENTIONED)
    drop = Drop("annotation", "a", DropReason.BAD_POLYGON, "old")
    notice = Notice("1/1", NoticeKind.EXIF_ROTATED)
    given = reading("a cat", objects=(old,), questions=(Question("Is it?", "yes", "existence", (), (7,)),))
    detector = replace(by_table({**BOTH, HALF: {"a cat": 0.4}}), notices=(NoticeKind.PROMPT_SPLIT,))
    result = annotated(annotator(detector), replace(given, drops=(drop,), notices=(notice,)))
    assert [item.category for item in result.record.objects] == ["cat"]
    assert result.record.questions == (Question("Is it?", "yes", "existence"),)
    assert result.notices == (notice, Notice("1/1", NoticeKind.PROMPT_SPLIT))
    assert result.drops[0] == drop
    assert {item.reason for item in result.drops[1:]} == {DropReason.CONTAINED_MASK, DropReason.NAMED_BY_NO_PHRASE}
    assert result.pixels is given.pixels


def test_key_objects_are_the_most_salient() -> None:
    result = annotated(annotator(by_table(BOTH), key_max=1), reading(TWO))
    assert [(item.category, item.is_key) for item in result.record.objects] == [("cat", True), ("dog", False)]


@pytest.mark.parametrize(
    ("prompt", "asked"), [("phrases", ["a cat . a dog ."]), ("caption", ["There is a cat and a dog, or a cat"])]
)
def test_query_is_a_list_of_phrases_or_the_caption(prompt: str, asked: list[str]) -> None:
    detector = by_table(BOTH)
    annotated(annotator(detector, links={"prompt": prompt}), reading("There is a cat and a dog, or a cat"))
    assert [query.text for query in detector.asked] == asked


def test_identities_include_all_models_in_use() -> None:
    crop_scorer: CropScorer = TableCropScorer(0.5)
    made = annotator(by_table(BOTH), captioner=TableCaptioner({}), crop_scorer=crop_scorer)
    assert [model.role for model in made.identities] == ["captioner", "detector", "segmenter", "similarity"]
    assert [model.role for model in annotator(by_table(BOTH)).identities] == ["detector", "segmenter"]


def test_masks_have_the_size_of_the_image() -> None:
    result = annotated(annotator(by_table({CAT: {"a cat": 0.9}})), reading("a cat", size_hw=(30, 50)))
    (cat,) = result.record.objects
    assert isinstance(cat.mask, Mask)
    assert cat.mask.size_hw == (30, 50)
