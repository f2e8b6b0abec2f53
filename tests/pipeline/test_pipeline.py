"""A record's steps in a build with models: order, batches, errors, and the account of replaced objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.tasks import Annotator, Task
from datasetkit.core.detections import Box
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.mask import mask_iou
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.record import Record
from datasetkit.core.schema import row_to_record
from datasetkit.export.output.part import Outcome
from datasetkit.options import GroundingOptions, Recipe
from datasetkit.options.build import Placement
from datasetkit.options.presets import preset
from datasetkit.options.sources import SOURCES
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.models import model_annotator
from datasetkit.pipeline.records import Pipeline
from datasetkit.runtime.stages.kinds import CpuStage, DeviceStage, Stage
from datasetkit.runtime.stages.timers import Stages
from datasetkit.sources.folder import FolderSource
from datasetkit.sources.toyworld import ToyworldSource
from tests.annotation.models_by_hand import Memory, TableDetector, TableSegmenter
from tests.pipeline.builders import caption, image_entry, instance, make_image, put, write_coco

CAT: Box = (2.0, 1.0, 20.0, 12.0)
COUNT = 7


def cats(memory: Memory | None = None) -> GroundedAnnotator:
    """Finds a cat at one position in every image, two images at once."""
    models = {"detector": {"name": "owlv2", "model": "none"}, "segmenter": {"name": "sam", "model": "none"}}
    detector = TableDetector([CAT], lambda _, phrase: 0.9 if "cat" in phrase else 0.0, memory or Memory())
    return GroundedAnnotator(
        GroundingOptions.model_validate(models),
        finder=NounPhraseFinder(),
        grounder=BoxesThenMasks(detector, TableSegmenter(), detector_batch=2, segmenter_batch=3),
    )


def recipe(source: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.checked({"source": source, "grounding": preset("toyworld", {}), **more})


def scenes(count: int = COUNT) -> Recipe:
    return recipe({"name": "toyworld", "count": count, "size_px": 64, "scene_split": "test"}, overlay=False)


def pipeline(
    chosen: Recipe, annotator: Annotator | None, *, source: Source | None = None, window: int = 3, **more: Any
) -> tuple[Pipeline, list[Entry]]:
    aligner = KnownObjectAligner(objects_known=True)
    source = source or SOURCES.load(chosen.source.name)(chosen.source, SourceContext(aligner=aligner))
    how: dict[str, Any] = {"filters": (), "workers": 2, "stages": Stages(), **more}
    made = Pipeline(chosen, source, aligner, annotator, inputs=Inputs(source, ""), window=window, **how)
    return made, list(source.entries())


def outcomes(*arguments: Any, **named: Any) -> list[Outcome]:
    made, entries = pipeline(*arguments, **named)
    return list(made.run(entries))


def record_of(outcome: Outcome) -> Record:
    assert outcome.row is not None
    return row_to_record(outcome.row)


@pytest.fixture
def mixed(tmp_path: Path) -> Recipe:
    """Make eight images with two annotations each, one of them with a bad polygon; three images cannot be read."""
    images = [image_entry(number) for number in range(1, 9)]
    instances = [instance(10 * number + part, number) for number in range(1, 9) for part in (0, 1)]
    instances[4]["segmentation"] = [[1, 1, 2, 2]]
    captions = [caption(number, number, f"cat {number}") for number in range(1, 9)]
    captions[6]["caption"] = "a dog"
    files = {f"{number}.png": make_image(number) for number in range(1, 9)}
    files |= {"1.png": b"no image", "5.png": files["5.png"][:200], "8.png": b""}
    return recipe(write_coco(tmp_path / "in", images, instances, captions, image_files=files))


@pytest.mark.parametrize(("window", "counts"), [(1, [1, 1, 1, 1, 1]), (2, [2, 1, 2]), (3, [2, 2, 1]), (100, [2, 2, 1])])
def test_outcomes_are_in_order(mixed: Recipe, window: int, counts: list[int]) -> None:
    memory = Memory()
    found = outcomes(mixed, cats(memory), window=window)
    assert memory.asked == counts, "images that cannot be read take their place in a window"
    lost = {0: DropReason.NOT_AN_IMAGE, 4: DropReason.TRUNCATED, 7: DropReason.EMPTY}
    assert len(found) == 8
    for place, outcome in enumerate(found):
        if place in lost:
            assert outcome.row is None
            assert outcome.drops[0].reason is lost[place]
        else:
            record = record_of(outcome)
            assert record.image_id == str(place + 1)
            assert record.description == ("a dog" if place == 6 else f"cat {place + 1}")
            assert len(record.objects) == (0 if place == 6 else 1)
            assert outcome.detections == 1


def test_annotations_are_replaced_with_or_without_masks(mixed: Recipe) -> None:
    found = outcomes(mixed, cats())
    for place, outcome in enumerate(found):
        number = place + 1
        reason = DropReason.RECORD_DROPPED if outcome.row is None else DropReason.RELABELLED
        wanted = {str(10 * number): reason, str(10 * number + 1): reason}
        drops = [drop for drop in outcome.drops if drop.scope == "annotation"]
        assert {drop.item_id.rpartition("/")[2]: drop.reason for drop in drops} == wanted
        assert len(drops) == outcome.annotations_read == 2
    unnamed = [drop for drop in found[6].drops if drop.scope == "detection"]
    assert [drop.reason for drop in unnamed] == [DropReason.NAMED_BY_NO_PHRASE]


def test_without_models_annotations_stay(mixed: Recipe) -> None:
    found = outcomes(mixed, None)
    kept = [len(record_of(outcome).objects) for outcome in found if outcome.row is not None]
    assert kept == [2, 2, 2, 2, 2], "the third image has an instance without a mask"
    reasons = {drop.reason for outcome in found for drop in outcome.drops}
    assert DropReason.RELABELLED not in reasons
    assert all(outcome.detections == 0 for outcome in found)


class ByHand(Annotator):
    """Has a single stage."""

    identities = ()
    device = "cpu"

    def __init__(self, stage: Stage[Task]) -> None:
        self._stage = stage

    def begin_part(self) -> None:
        pass

    def stages(self) -> tuple[Stage[Task], ...]:
        return (self._stage,)


def refuse_some(image_id: str) -> str:
    if image_id in {"3", "6"}:
        raise UnusableError(DropReason.NOT_FINITE, "odd")
    return image_id


def test_unusable_image_drops_its_annotations(mixed: Recipe) -> None:
    stage: Stage[Task] = CpuStage(
        name="refuse",
        ask=lambda task: task.reading.record.image_id,
        answer=lambda task, _: task,
        function=refuse_some,
    )
    found = outcomes(mixed, ByHand(stage), window=100)
    lost = [place for place, outcome in enumerate(found) if outcome.row is None]
    assert lost == [0, 2, 4, 5, 7]
    assert [(drop.scope, drop.reason) for drop in found[5].drops] == [
        ("record", DropReason.NOT_FINITE),
        ("annotation", DropReason.RECORD_DROPPED),
        ("annotation", DropReason.RECORD_DROPPED),
    ]


class Broken(ToyworldSource):
    """Raises an error at the fourth scene."""

    def read(self, entry: Entry) -> Reading:
        if entry.handle == 3:
            raise ZeroDivisionError("a defect")
        return super().read(entry)


@pytest.mark.parametrize("by_models", [True, False])
def test_source_defect_ends_the_run_after_earlier_records(by_models: bool) -> None:
    chosen, annotator = scenes(), cats() if by_models else None
    made, entries = pipeline(chosen, annotator, source=Broken(chosen.source), window=1, workers=1)
    found: list[Outcome] = []

    def run() -> Iterator[Outcome]:
        for outcome in made.run(entries):
            found.append(outcome)
            yield outcome

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(run())
    assert len(found) <= 3
    assert all(outcome.row is not None for outcome in found)


def test_annotator_defect_ends_the_run() -> None:
    def fail(asked: Sequence[str], _: Sequence[Any]) -> list[Any]:
        raise ZeroDivisionError(f"a defect with {len(asked)} images")

    stage: Stage[Task] = DeviceStage(
        name="fail",
        ask=lambda task: task.reading.record.image_id,
        answer=lambda task, _: task,
        forward=fail,
        size=3,
    )
    with pytest.raises(ZeroDivisionError, match="a defect with 3 images"):
        outcomes(scenes(), ByHand(stage))


def test_undescribed_image_is_noticed_once(tmp_path: Path) -> None:
    options = write_coco(tmp_path / "in", [image_entry(1)], [instance(1, 1)], None)
    (found,) = outcomes(recipe({**options, "require_description": False}), cats())
    assert [notice.kind for notice in found.notices] == [NoticeKind.NO_DESCRIPTION]
    assert record_of(found).objects == ()


def by_shipped_models(batch: int, stages: Stages) -> list[Record]:
    chosen = scenes()
    assert chosen.grounding is not None
    placement = Placement(device="cpu", captioner_batch=batch, detector_batch=batch, segmenter_batch=batch)
    annotator = model_annotator(chosen.grounding, placement, NounPhraseFinder(), describes=False, key_max=None)
    return [record_of(outcome) for outcome in outcomes(chosen, annotator, window=placement.window, stages=stages)]


@pytest.fixture(scope="module")
def one_by_one() -> tuple[list[Record], Stages]:
    stages = Stages()
    return by_shipped_models(1, stages), stages


@pytest.mark.parametrize("batch", [3, 8])
def test_batch_size_does_not_change_records(one_by_one: tuple[list[Record], Stages], batch: int) -> None:
    found = by_shipped_models(batch, Stages())
    assert sum(len(record.objects) for record in found) >= COUNT
    for record, alone in zip(found, one_by_one[0], strict=True):
        assert (record.record_id, record.description) == (alone.record_id, alone.description)
        links = [(phrase.text, phrase.object_ids, phrase.status, phrase.reason) for phrase in record.phrases]
        assert links == [(phrase.text, phrase.object_ids, phrase.status, phrase.reason) for phrase in alone.phrases]
        for item, other in zip(record.objects, alone.objects, strict=True):
            assert (item.id, item.category, item.status, item.is_key) == (
                other.id,
                other.category,
                other.status,
                other.is_key,
            )
            # A different order of summation changes the last digits, and may flip a pixel whose logit is almost 0.
            assert mask_iou([item.mask], [other.mask]).item() > 0.98
            assert item.scores.detection == pytest.approx(other.scores.detection, abs=1e-4)
            assert item.scores.predicted_iou == pytest.approx(other.scores.predicted_iou, abs=1e-4)
            assert item.source_bbox == pytest.approx(other.source_bbox, abs=0.01)


def test_every_stage_is_timed_in_images(one_by_one: tuple[list[Record], Stages]) -> None:
    found = one_by_one[1].snapshot()
    models = ("prepare detect", "detect", "prepare segment", "segment", "masks")
    assert {name: work.items for name, work in found.stages.items()} == dict.fromkeys(
        ("read", "phrases", *models, "clean", "link", "draw"), COUNT
    )
    assert {name for name, work in found.stages.items() if work.on_device} == {"detect", "segment"}
    assert all(rate > 0 for rate in found.rates.values())


def test_stages_of_a_build_without_models(mixed: Recipe) -> None:
    stages = Stages()
    outcomes(mixed, None, stages=stages)
    found = {name: work.items for name, work in stages.snapshot().stages.items()}
    assert found == {"read": 5, "align": 5, "draw": 5}, "what could not be read is not counted"


class Vanishing(FolderSource):
    """A folder whose images are gone as soon as they were read."""

    def read(self, entry: Entry) -> Reading:
        reading = super().read(entry)
        for path in self.inputs(entry).values():
            path.unlink()
        return reading


def test_an_image_is_hashed_as_it_was_read(tmp_path: Path) -> None:
    chosen = recipe({"name": "folder", "folder": put(tmp_path, {"a.png": make_image()})})
    source = Vanishing(chosen.source)
    made, entries = pipeline(chosen, None, source=source)
    (outcome,) = made.run(entries)
    files = Inputs(source, "").account(entries, outcome.inputs)["files"]
    assert files["a.png"][3] == hashlib.sha256(make_image()).hexdigest()
