"""Building again into the same folder: what the owner wrote into the card stays, what was generated does not."""

from __future__ import annotations

from pathlib import Path

import pytest

import datasetkit.pipeline.parts
from datasetkit.core.errors import OutputError
from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.card.sections import section_names
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from datasetkit.options import Recipe
from tests.pipeline.builders import (
    built,
    caption,
    coco_recipe,
    contents,
    folder_recipe,
    image_entry,
    instance,
    make_image,
    put,
    write_coco,
)

pytestmark = pytest.mark.slow

MINE = "## How I use it\n\nWith care.\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    metadata = '{"file_name": "a.png", "text": "a cat"}\n{"file_name": "b.png", "text": "a dog"}\n'
    return put(tmp_path / "in", {"a.png": make_image(1), "b.png": make_image(2), "metadata.jsonl": metadata})


def human_masks(folder: Path) -> Recipe:
    return coco_recipe(write_coco(folder, [image_entry(1)], [instance(1, 1)], [caption(1, 1)]))


def edit(out: Path) -> None:
    """Write as an owner does: a section, a title, a tag, a key, a language; and one generated section goes."""
    path = out / "README.md"
    card = path.read_text()
    start, end = card.index("<!-- datasetkit:begin citation -->"), card.index("<!-- datasetkit:sections ")
    card = card[:start] + card[end:]
    card = card.replace("pretty_name: ", "doi: 10.1/2\npretty_name: My ").replace("- datasetkit\n", "- mine\n")
    path.write_text(card.replace("<!-- datasetkit:begin columns -->", f"{MINE}\n<!-- datasetkit:begin columns -->"))


def assert_owners(out: Path) -> None:
    card = (out / "README.md").read_text()
    front = read_front_matter(card)
    assert card.count(MINE) == 1
    assert front["doi"] == "10.1/2"
    assert front["pretty_name"].startswith("My ")
    assert front["tags"] == ["datasetkit", "mine"]
    assert "citation" not in section_names(card)
    assert list(verify_files(FolderFiles(out))) == []


def test_an_owners_text_outlives_another_build_in_its_folder(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    built(folder_recipe(images), out)
    edit(out)
    built(folder_recipe(images, limit=1), out, overwrite=True)
    assert_owners(out)
    assert "1 record of 1 image" in (out / "README.md").read_text()
    once = contents(out)
    built(folder_recipe(images), out, overwrite=True)
    assert_owners(out)
    built(folder_recipe(images, limit=1), out, overwrite=True)
    assert contents(out) == once


def test_an_owners_text_outlives_a_retry(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[:-300])
    built(folder_recipe(images), out)
    edit(out)
    (images / "b.png").write_bytes(whole)
    built(folder_recipe(images), out, retry_failed=True)
    assert_owners(out)
    assert "2 records of 2 images" in (out / "README.md").read_text()


def test_an_owners_text_outlives_a_build_cut_short(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    built(folder_recipe(images), out)
    edit(out)

    def cut_short(folder: Path, *_: object) -> None:
        (folder / "README.md").write_text("---\nhalf")
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(datasetkit.pipeline.parts, "describe", cut_short)
        with pytest.raises(ZeroDivisionError):
            built(folder_recipe(images, limit=1), out, overwrite=True)
    built(folder_recipe(images, limit=1), out)
    assert_owners(out)


def test_nothing_that_was_generated_for_another_dataset_stays(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    built(human_masks(tmp_path / "coco"), out)
    assert read_front_matter((out / "README.md").read_text())["annotations_creators"] == ["found"]
    edit(out)
    built(folder_recipe(images), out, overwrite=True)
    assert read_front_matter((out / "README.md").read_text())["annotations_creators"] == ["no-annotation"]
    assert_owners(out)


def test_an_untouched_card_gives_the_bytes_of_a_fresh_build(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    built(human_masks(tmp_path / "coco"), out)
    built(folder_recipe(images), out, overwrite=True)
    built(folder_recipe(images), tmp_path / "anew")
    assert contents(out) == contents(tmp_path / "anew")


@pytest.mark.parametrize("front", [b"---\na: [\n---\n", b"---\na: 1\n", b"\xff\xfe"])
def test_an_unreadable_card_ends_the_build_before_any_loss(tmp_path: Path, images: Path, front: bytes) -> None:
    out = tmp_path / "out"
    built(folder_recipe(images), out)
    (out / "README.md").write_bytes(front)
    before = contents(out)
    with pytest.raises(OutputError, match=r"README\.md cannot be kept: .*; fix or delete it"):
        built(folder_recipe(images, limit=1), out, overwrite=True)
    assert contents(out) == before


def test_an_empty_build_is_replaced_by_the_corrected_one(images: Path, tmp_path: Path) -> None:
    recipe = folder_recipe(images)
    small = recipe.model_copy(update={"limits": recipe.limits.model_copy(update={"max_pixels": 1})})
    assert built(small, tmp_path / "out")[1] == {}
    assert built(recipe, tmp_path / "out")[0].split_rows == {"train": 2}
    with pytest.raises(OutputError, match="contains another build"):
        built(small, tmp_path / "out")
