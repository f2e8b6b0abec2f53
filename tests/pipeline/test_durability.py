"""Builds that never lose anything: retries, replacements and updates whose source is gone, in part gone, or changed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceFailedError
from datasetkit.export.dataset.files import FolderFiles
from datasetkit.export.dataset.folder import is_unfinished
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.verification.verify import verify_files
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.parts import Progress
from tests.pipeline.builders import built, caption, coco_recipe, contents, image_entry, picture, reasons, write_coco

pytestmark = pytest.mark.slow


class StoppedError(Exception):
    """What a test ends a build with."""


def coco_of(folder: Path, count: int = 8, **options: Any) -> Recipe:
    images = [image_entry(n) for n in range(count)]
    source = write_coco(folder, images, None, [caption(50 + n, n) for n in range(count)])
    return coco_recipe(source, **{"part_size": 2, **options})


def image(folder: Path, number: int) -> Path:
    return folder / "images" / f"{number}.png"


def stop_at(done: int) -> Any:
    def stop(progress: Progress) -> None:
        if progress.done == done:
            raise StoppedError

    return stop


def published(out: Path) -> dict[str, bytes]:
    """What a reader sees in OUT, which must be sound."""
    assert not is_unfinished(out)
    assert list(verify_files(FolderFiles(out))) == []
    return {name: data for name, data in contents(out).items() if not name.startswith(".build")}


def test_a_retry_never_takes_a_part_with_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    for number in (1, 2):
        image(tmp_path, number).unlink()
    built(recipe, out)
    for number in (1, 2):
        image(tmp_path, number).write_bytes(picture(number))
    image(tmp_path, 3).unlink()
    with caplog.at_level(logging.WARNING):
        _, found = built(recipe, out, retry_failed=True)
    assert list(found) == ["0", "1", "3", "4", "5", "6", "7"], "part 0 gained 1; part 1 would gain 2 and lack 3"
    assert caplog.messages == ["part 1 stays as it was: built again, it would lack 3 (3.png is not there)"]
    image(tmp_path, 3).write_bytes(picture(3))
    built(recipe, out, retry_failed=True)
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


@pytest.mark.parametrize("how", [{"retry_failed": True}, {"overwrite": True}])
def test_what_is_published_stays_until_the_new_is_whole(tmp_path: Path, how: dict[str, bool]) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 5).unlink()
    built(recipe, out)
    before = published(out)
    image(tmp_path, 5).write_bytes(picture(5))
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=out, workers=2, **how), stop_at(6))
    assert published(out) == before
    _, found = built(recipe, out)
    assert len(found) == 8, "the plain command goes on"
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_a_replacement_that_was_begun_can_be_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 5).unlink()
    built(recipe, out)
    before = published(out)
    other = recipe.model_copy(update={"limit": 4})
    with pytest.raises(StoppedError):
        build(other, RunOptions(out=out, workers=2, overwrite=True), stop_at(2))
    with caplog.at_level(logging.WARNING):
        build(recipe, RunOptions(out=out, workers=2))
    assert "not finished" in caplog.messages[0]
    assert published(out) == before
    _, found = built(other, out)
    assert len(found) == 4


def test_a_replacement_never_lacks_what_could_not_be_read(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    before = published(out)
    whole = image(tmp_path, 5).read_bytes()
    image(tmp_path, 5).write_bytes(whole[:-200])
    for _ in range(2):
        with pytest.raises(
            SourceFailedError, match=r"1 record that .*out holds could not be read this time: 5 \(trunc"
        ):
            build(recipe.model_copy(update={"overlay": False}), RunOptions(out=out, workers=2, overwrite=True))
        assert published(out) == before
    image(tmp_path, 5).write_bytes(whole)
    without = recipe.model_copy(update={"overlay": False})
    built(without, out)
    built(without, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_a_smaller_build_may_replace_a_larger_one(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    image(tmp_path, 0).unlink()
    assert len(built(recipe.model_copy(update={"limit": 3}), tmp_path / "three")[1]) == 2
    image(tmp_path, 0).write_bytes(picture(0))
    assert len(built(recipe.model_copy(update={"limit": 3}), out, overwrite=True)[1]) == 3


def test_an_unfinished_build_goes_on_before_it_retries(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 1).unlink()
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=out, workers=2), stop_at(5))
    image(tmp_path, 1).write_bytes(picture(1))
    assert len(built(recipe, out, retry_failed=True)[1]) == 8
    assert reasons(out) == {}
    assert len(Manifest.read(out).parts) == 4
