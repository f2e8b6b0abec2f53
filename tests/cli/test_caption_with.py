"""``--caption-with``: a captioner describes images, and objects stay those of the source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.core.ledger import NoticeKind
from datasetkit.core.record import Linker, Maker, PhraseStatus
from datasetkit.export.dataset.manifest import Manifest
from tests.pipeline.builders import check_account, records

pytestmark = pytest.mark.slow

RUN = CliRunner()
WRITE = ("--caption-with", "toyworld", "--set", "captioner.max_new_tokens=24", "--device", "cpu", "--no-overlay")


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        yield


def run(*arguments: object) -> tuple[int, str, str]:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Rendered scenes as COCO: images, exact masks, and captions."""
    folder = tmp_path_factory.mktemp("coco")
    scenes = ("--count", 3, "--size-px", 64, "--preset", "none", "--no-overlay")
    assert run("build", "toyworld", *scenes, "--out", folder / "scenes")[0] == 0
    assert run("export", folder / "scenes", folder / "coco", "--to", "coco")[0] == 0
    files = folder / "coco"
    return "coco", "--images", str(files / "images/train"), "--instances", str(files / "instances_train.json")


@pytest.fixture(scope="module")
def described(coco: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("described") / "out"
    code, shown, errors = run("build", *coco, *WRITE, "--out", out)
    assert code == 0, errors
    assert "captioned (a model wrote the description)" in shown
    assert "hint" not in shown
    check_account(out)
    return out


def test_descriptions_are_aligned_to_the_source_s_masks(coco: tuple[str, ...], described: Path) -> None:
    manifest, found = Manifest.read(described), records(described)
    drawn = json.loads(Path(coco[-1]).read_text())["annotations"]
    assert [(model.role, model.id) for model in manifest.models] == [("captioner", "toyworld:vlm")]
    assert manifest.tally.notices[NoticeKind.CAPTIONED] == len(found) == 3
    assert manifest.tally.kept["annotation"] == sum(len(record.objects) for record in found.values()) == len(drawn)
    masks = [item.mask.to_coco() for record in found.values() for item in record.objects if item.mask is not None]
    assert sorted(str(mask["counts"]) for mask in masks) == sorted(item["segmentation"]["counts"] for item in drawn)
    phrases = [phrase for record in found.values() for phrase in record.phrases]
    assert any(phrase.status is PhraseStatus.MATCHED for phrase in phrases)
    assert {phrase.provenance for phrase in phrases} == {Linker.WORDS}
    assert all(item.provenance.mask is not Maker.MODEL for record in found.values() for item in record.objects)


def test_the_card_says_who_wrote_and_who_drew(described: Path) -> None:
    card = (described / "README.md").read_text()
    assert "3 descriptions were written by a model" in card
    assert "The masks are those of the annotation file" in card
    assert "| `captioner.prompt` |" in card
    for absent in (
        "Masks and links were made by models",
        "`detector.score_min`",
        "`links.margin`",
        "machine-generated",
    ):
        assert absent not in card


def test_rows_of_a_build_without_descriptions_are_described(
    coco: tuple[str, ...], described: Path, tmp_path: Path
) -> None:
    assert run("build", *coco, "--no-overlay", "--out", tmp_path / "bare")[0] == 0
    assert run("build", "parquet", tmp_path / "bare", *WRITE, "--out", tmp_path / "out")[0] == 0
    before, after = records(described), records(tmp_path / "out")
    assert [record.description for record in after.values()] == [record.description for record in before.values()]
    assert [record.phrases for record in after.values()] == [record.phrases for record in before.values()]
    assert [record.key_objects for record in after.values()] == [record.key_objects for record in before.values()]


def test_only_images_without_a_description_are_described(coco: tuple[str, ...], tmp_path: Path) -> None:
    captions = Path(coco[-1]).with_name("captions_train.json")
    document = json.loads(captions.read_text())
    kept = document["annotations"][0]
    one = tmp_path / "one.json"
    # As another tool writes it: our own exports come back as they were.
    one.write_text(
        json.dumps(
            {"images": document["images"], "annotations": [{"id": 1, "image_id": kept["image_id"], "caption": "Mine."}]}
        )
    )
    given = (*coco, "--captions", one)
    assert run("build", *given, *WRITE, "--out", tmp_path / "out")[0] == 0
    assert sorted(record.description == "Mine." for record in records(tmp_path / "out").values()) == [
        False,
        False,
        True,
    ]
    again = (*given, *WRITE, "--set", "recaption=true", "--out", tmp_path / "again")
    assert run("build", *again)[0] == 0
    assert all(record.description != "Mine." for record in records(tmp_path / "again").values())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--preset", "toyworld"), "--preset finds objects, and --caption-with keeps those of the source"),
        (("--relabel",), "--relabel replaces the source's objects by those that models find"),
        (("--detector", "toyworld:detector"), "detector.model is an option of models that find objects"),
        (("--segmenter", "none"), "segmenter is an option of models that find objects"),
        (("--captioner", "given"), "captioner given writes none; name another captioner"),
    ],
)
def test_what_contradicts_it_is_one_line(
    coco: tuple[str, ...], more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    code, shown, errors = run("build", *coco, "--caption-with", "toyworld", *more, "--out", tmp_path / "out")
    assert (code, shown) == (1, "")
    assert message in errors.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_source_that_describes_all_needs_none(tmp_path: Path) -> None:
    code, _, errors = run("build", "toyworld", "--count", 1, "--caption-with", "toyworld", "--out", tmp_path / "out")
    assert code == 1
    assert "every image of this source has a description, so --caption-with writes none" in errors
