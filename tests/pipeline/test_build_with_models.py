"""Builds with objects found by models: accounts, equal bytes, memory that runs out, each image encoded once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules import module as torch_module
from transformers import GroundingDinoForObjectDetection
from transformers.models.sam.modeling_sam import SamVisionEncoder

from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.presets import preset
from datasetkit.pipeline.build import build
from tests.core.images import encode, noise
from tests.pipeline.builders import built, contents, put, reasons, records, write_coco

pytestmark = pytest.mark.slow

CPU: dict[str, Any] = {"device": "cpu", "captioner_batch": 4, "detector_batch": 4, "segmenter_batch": 4}


def scenes(count: int = 8, **options: Any) -> Recipe:
    source = {"name": "toyworld", "count": count, "size_px": 128, "scene_split": "test"}
    return Recipe.checked({"source": source, "grounding": preset("toyworld", {}), **options})


def of_scenes(out: Path, **options: Any) -> Manifest:
    return build(scenes(**options), RunOptions(out=out, workers=2, **CPU))


@contextmanager
def before_forward(kind: type[torch.nn.Module], hook: Any) -> Iterator[None]:
    """Call a hook with the inputs of every forward pass of one class of modules, wherever it is called."""

    def called(module: torch.nn.Module, arguments: Any) -> None:
        if isinstance(module, kind):
            hook(arguments)

    handle = torch_module.register_module_forward_pre_hook(called)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def before_detection(hook: Any) -> Iterator[None]:
    """Call a hook with the pixels, shape (B, 3, H, W), that the detector receives."""
    original = GroundingDinoForObjectDetection.forward

    def forward(self: Any, *arguments: Any, **named: Any) -> Any:
        hook(named["pixel_values"])
        return original(self, *arguments, **named)

    patch = pytest.MonkeyPatch()
    patch.setattr(GroundingDinoForObjectDetection, "forward", forward)
    try:
        yield
    finally:
        patch.undo()


def data(out: Path) -> dict[str, bytes]:
    """Return every file by name except the card and its images, which tests draw only if they check them."""
    found = {name: content for name, content in contents(out).items() if name.startswith(("data", "ledger"))}
    return found | {
        "manifest.json": json.dumps(json.loads((out / "manifest.json").read_text()) | {"files": None}).encode()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "whole"
    built(scenes(), out, **CPU)
    return out


def test_every_object_records_its_model(whole: Path) -> None:
    manifest = Manifest.read(whole)
    assert [(model.role, model.id) for model in manifest.models] == [
        ("detector", "toyworld:detector"),
        ("segmenter", "toyworld:segmenter"),
    ]
    assert set(reasons(whole, "annotation").values()) == {DropReason.RELABELLED}
    assert manifest.tally.kept["annotation"] == 0
    assert manifest.tally.kept["detection"] > 8
    assert list(verify_files(FolderFiles(whole))) == []
    card = (whole / "README.md").read_text()
    assert "toyworld:detector" in card


def test_objects_have_scores_and_categories(whole: Path) -> None:
    matched = 0
    for record in records(whole).values():
        said = " ".join(phrase.text.lower() for phrase in record.phrases)
        for item in record.objects:
            assert item.category is None or item.category in said
            assert item.status is not ObjectStatus.UNMENTIONED
            scores = item.scores
            assert None not in (scores.detection, scores.predicted_iou, scores.stability, scores.cleaning_iou)
            assert item.source_bbox is not None
        assert all(not question.object_ids for question in record.questions)
        matched += sum(phrase.status is PhraseStatus.MATCHED for phrase in record.phrases)
    assert matched >= 10


def test_equal_recipes_yield_equal_bytes(whole: Path, tmp_path: Path) -> None:
    of_scenes(tmp_path / "again")
    assert data(tmp_path / "again") == data(whole)
    of_scenes(tmp_path / "parts", part_size=4)

    class StopError(Exception):
        pass

    def stop_at_five(progress: Any) -> None:
        if progress.done == 5:
            raise StopError

    with pytest.raises(StopError):
        build(scenes(part_size=4), RunOptions(out=tmp_path / "resumed", workers=2, **CPU), stop_at_five)
    asked: list[int] = []
    with before_detection(lambda pixels: asked.append(len(pixels))):
        of_scenes(tmp_path / "resumed", part_size=4)
    assert sum(asked) == 4
    assert data(tmp_path / "resumed") == data(tmp_path / "parts")


def test_each_image_is_encoded_once(tmp_path: Path) -> None:
    encoded: list[int] = []
    with before_forward(SamVisionEncoder, lambda arguments: encoded.append(len(arguments[0]))):
        of_scenes(tmp_path / "out")
    assert sum(encoded) == 8


def test_out_of_memory_halves_batches_without_loss(whole: Path, tmp_path: Path) -> None:
    refused: list[int] = []

    def refuse_more_than_one(pixels: torch.Tensor) -> None:
        if len(pixels) > 1:
            refused.append(len(pixels))
            raise torch.OutOfMemoryError("a test's memory")

    with before_detection(refuse_more_than_one):
        manifest = of_scenes(tmp_path / "out")
    assert refused == [4, 2]
    assert manifest.tally.kept["record"] == 8
    plain, halved = records(whole), records(tmp_path / "out")
    assert plain.keys() == halved.keys()
    for name, record in plain.items():
        assert [phrase.object_ids for phrase in record.phrases] == [
            phrase.object_ids for phrase in halved[name].phrases
        ]


def test_halved_batch_changes_its_own_part_alone(tmp_path: Path) -> None:
    sizes: list[int] = []

    def refuse_the_first(pixels: torch.Tensor) -> None:
        sizes.append(len(pixels))
        if len(sizes) == 1:
            raise torch.OutOfMemoryError("a test's memory")

    plain = of_scenes(tmp_path / "plain", part_size=4)
    with before_detection(refuse_the_first):
        halved = of_scenes(tmp_path / "halved", part_size=4)
    assert sizes == [4, 2, 2, 4]
    assert halved.parts[1] == plain.parts[1]


def test_too_large_image_is_dropped_and_can_be_retried(whole: Path, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def refuse_the_third(pixels: torch.Tensor) -> None:
        if len(seen) < 3:
            seen.extend(pixels)
        if any(torch.equal(one, seen[2]) for one in pixels):
            raise torch.OutOfMemoryError("a test's memory")

    out = tmp_path / "out"
    with before_detection(refuse_the_third):
        manifest = of_scenes(out)
    assert Counter(reasons(out).values()) == {DropReason.OUT_OF_MEMORY: 1}
    assert manifest.tally.kept["record"] == 7
    build(scenes(), RunOptions(out=out, workers=2, **CPU, retry_failed=True))
    assert data(out) == data(whole)


def test_captioner_describes_undescribed_images(whole: Path, tmp_path: Path) -> None:
    images = [record.image for record in records(whole).values()][:3]
    folder = put(tmp_path / "in", {image.name: image.data for image in images})
    (folder / "metadata.csv").write_text(f"file_name,text\n{images[0].name},a red star\n")
    grounding = preset("toyworld", {"captioner.prompt": "List the objects."})
    recipe = Recipe.checked({"source": {"name": "folder", "folder": folder}, "grounding": grounding})
    manifest, found = built(recipe, tmp_path / "out", **CPU)
    assert manifest.tally.notices[NoticeKind.CAPTIONED] == 2
    assert [model.id for model in manifest.models if model.role == "captioner"] == ["toyworld:vlm"]
    assert found[images[0].name].description == "a red star"
    assert all(record.description for record in found.values())


def test_images_without_words_have_no_objects(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "in", [{"id": 1, "file_name": "1.png", "height": 24, "width": 31}], None, [])
    grounding = preset("toyworld", {"captioner.name": "given"})
    recipe = Recipe.checked({"source": {**source, "require_description": False}, "grounding": grounding})
    _, found = built(recipe, tmp_path / "out", **CPU)
    (record,) = found.values()
    assert (record.description, record.objects) == (None, ())


@pytest.mark.parametrize("size_wh", [(1, 1), (3000, 2), (2, 3000)])
def test_models_accept_images_of_any_shape(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    folder = put(tmp_path / "in", {"thin.png": encode(noise(size_wh[::-1], 0), "PNG")})
    (folder / "metadata.csv").write_text("file_name,text\nthin.png,a red star and two rings\n")
    grounding = preset("toyworld", {"detector.score_min": 0.0, "captioner.name": "given", "filters.box_share_max": 1.0})
    recipe = Recipe.checked({"source": {"name": "folder", "folder": folder}, "grounding": grounding})
    manifest, _ = built(recipe, tmp_path / "out", **CPU)
    assert manifest.tally.kept["record"] == 1
    assert manifest.tally.read["detection"] > 0
