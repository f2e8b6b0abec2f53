"""The card: loads, states what the shards hold, runs its own example, and cannot be broken by what is in the data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets.info import DatasetInfo
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind, Tally
from datasetkit.core.markdown import Markdown, code, escape, fenced, table
from datasetkit.core.record import PhraseStatus, Record, Scores
from datasetkit.core.schema import features_json, row_schema, row_to_record
from datasetkit.export.card.front_matter import features_yaml, read_front_matter
from datasetkit.export.card.licenses import HUB_IDENTIFIERS, card_license, license_text
from datasetkit.export.card.quality import BY_DETECTIONS, BY_WORDS
from datasetkit.export.card.render import render_card
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.export.statistics.statistics import Statistics
from datasetkit.options import presets
from tests.export.folders import RECIPE, bare_record, record, rows_of, write_folder

pytestmark = pytest.mark.slow

DROPS = (
    Drop("record", "13", DropReason.TRUNCATED, "13.jpg cannot be decoded"),
    Drop("annotation", "130", DropReason.RECORD_DROPPED, "record 13"),
    Drop("annotation", "131", DropReason.BAD_POLYGON, "two points"),
)
NOTICES = (Notice("record 1", NoticeKind.ANIMATION_FIRST_FRAME),)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "my-dataset"  # as the example in the card calls it
    rows = rows_of([record(1), record(2, license_name="odd | license"), record(3), bare_record(4)])
    write_folder(folder, {"train": [rows[:1], rows[1:3]], "test": [rows[3:]]}, drops=DROPS, notices=NOTICES)
    return folder


def card_of(folder: Path, **changes: Any) -> str:
    manifest = Manifest.read(folder)
    return render_card(manifest, Statistics.read(folder), **changes)


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_opens_the_folder(built: Path, tmp_path: Path, streaming: bool) -> None:
    dataset = datasets.load_dataset(str(built), streaming=streaming, cache_dir=str(tmp_path))
    assert list(dataset) == ["train", "test"]
    assert [len(list(dataset[split])) for split in dataset] == [3, 1]
    assert dataset["train"].features == datasets.Features.from_dict(features_json())
    alone = datasets.load_dataset(str(built), split="test", streaming=streaming, cache_dir=str(tmp_path))
    assert [row_to_record(row) for row in alone.cast_column("image", datasets.Image(decode=False))] == [bare_record(4)]


def test_a_wrong_count_in_the_card_would_be_noticed(built: Path, tmp_path: Path) -> None:
    """What makes the counts worth writing: datasets compares them."""
    text = card_of(built).replace("num_examples: 3", "num_examples: 4")
    for path in (built / "data").iterdir():
        (tmp_path / "out" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / "data" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "out" / "README.md").write_text(text)
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))


def test_the_example_in_the_card_runs(built: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (built / "README.md").read_text(), re.DOTALL)
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=built.parent, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "'Two cats' is matched: objects [0, 1], 118 pixels",
        "'a man' is ambiguous: objects [], 0 pixels",
        "'the top' is not_an_object: objects [], 0 pixels",
    ]


def test_front_matter_is_what_datasets_writes(built: Path) -> None:
    front = read_front_matter((built / "README.md").read_text())
    for overlay in (True, False):
        features = datasets.Features.from_dict(features_json(overlay=overlay))
        assert features_yaml(row_schema(overlay=overlay)) == features._to_yaml_list()
    info = DatasetInfo._from_yaml_dict(dict(front["dataset_info"]))
    manifest = Manifest.read(built)
    assert {name: split.num_examples for name, split in info.splits.items()} == manifest.split_rows
    assert info.download_size == sum(path.stat().st_size for path in (built / "data").iterdir())
    assert info.dataset_size == sum(split.num_bytes for split in info.splits.values())
    data = DatasetCard.load(built / "README.md").data
    assert data.license == "other"
    assert data.task_categories == [
        "image-segmentation",
        "object-detection",
        "image-to-text",
        "visual-question-answering",
    ]
    assert data.size_categories == ["n<1K"]


def test_every_count_of_the_ledger_is_in_the_card(built: Path) -> None:
    lines = (built / "README.md").read_text().splitlines()
    assert "| read | 5 | 14 |  |" in lines
    assert f"| dropped: `truncated` | 1 | 0 | {DropReason.TRUNCATED.explanation} |" in lines
    assert f"| dropped: `bad_polygon` | 0 | 1 | {DropReason.BAD_POLYGON.explanation} |" in lines
    assert "| kept | 4 | 12 |  |" in lines
    assert f"| `animation_first_frame` | 1 | {NoticeKind.ANIMATION_FIRST_FRAME.explanation} |" in lines
    assert "| `matched` | 3 | 33.3 % | names the objects in `object_ids` |" in lines
    assert "| `ambiguous` | `several_candidates` | 3 |  |" in lines


def test_reasons_are_explained_where_their_meaning_is_given(built: Path) -> None:
    lines = card_of(built, reason_meanings={"several_candidates": "more | fit"}).splitlines()
    assert "| `ambiguous` | `several_candidates` | 3 | more \\| fit |" in lines
    assert "| `not_an_object` | `abstract_noun` | 3 |  |" in lines


def test_images_of_the_card_are_there(built: Path) -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (built / "README.md").read_text())
    assert shown == ["assets/samples.jpg", "assets/categories.png", "assets/objects.png", "assets/phrases.png"]
    assert all((built / path).is_file() for path in shown)


def test_every_file_is_the_same_in_a_second_build(built: Path, tmp_path: Path) -> None:
    rows = rows_of([record(1), record(2, license_name="odd | license"), record(3), bare_record(4)])
    again = tmp_path / "elsewhere"
    write_folder(again, {"train": [rows[:1], rows[1:3]], "test": [rows[3:]]}, drops=DROPS, notices=NOTICES)
    files = {path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == files
    assert not [path for path, data in files.items() if str(tmp_path.parent).encode() in data]


NASTY = "a|b `c` <script> *d* [e](f) \n---\n# g: {{ h }} & ~~i~~ \\"


def test_data_cannot_break_the_card(tmp_path: Path) -> None:
    rows = rows_of([record(1, license_name=NASTY)])
    recipe = RECIPE | {"license": f"```\n{NASTY}\n```"}
    manifest = write_folder(tmp_path / "out", {"train": [rows]}, recipe=recipe, described=False)
    statistics = compute_statistics(tmp_path / "out", manifest)
    card = render_card(manifest, statistics, title=NASTY)
    front = read_front_matter(card)
    assert front["pretty_name"] == NASTY
    assert front["license_name"] == " ".join(NASTY.split())
    html = MarkdownIt("commonmark").enable("table").render(card.split("\n---\n", 1)[1].split("\n---\n")[-1])
    assert "<script>" not in html
    headings = re.findall(r"<h[12]>(.*?)</h[12]>", html)
    assert len(headings) == 11
    assert rendered_rows(table(["license", "n"], [[NASTY, 1]]))[1] == [" ".join(NASTY.split()), "1"]
    blocks = [token.content for token in MarkdownIt("commonmark").parse(card) if token.type == "fence"]
    assert [yaml.safe_load(block) for block in blocks if block.startswith("source:")] == [recipe]


def rendered_rows(markdown: str) -> list[list[str]]:
    """Read a table's cells back as a reader of the page sees them."""
    cells: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            cells.append([])
        if token.type == "inline":
            cells[-1].append("".join(child.content for child in token.children or ()))
    return cells


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["C"])), min_size=2, max_size=2), min_size=1))
def test_any_text_comes_back_from_a_table(rows: list[list[str]]) -> None:
    expected = [[" ".join(cell.split()) for cell in row] for row in rows]
    assert rendered_rows(table(["a", "b"], rows))[1:] == expected
    assert (
        rendered_rows(table(["a", "b"], [[code(cell) if cell.strip() else "" for cell in row] for row in rows]))[1:]
        == expected
    )


@given(st.text(st.characters(exclude_categories=["C"])))
def test_any_text_comes_back_from_a_block_of_code(text: str) -> None:
    (token,) = MarkdownIt("commonmark").parse(fenced(text, "text"))
    assert token.type == "fence"
    assert token.content.strip() == text.strip()


def test_markdown_is_not_escaped_twice() -> None:
    assert escape(Markdown("`a_b`")) == "`a_b`"
    assert escape("a_b") == "a\\_b"


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        ({}, {"license": "unknown"}),
        ({"unknown": 3}, {"license": "unknown"}),
        ({"cc-by-4.0": 3}, {"license": "cc-by-4.0"}),
        ({"MIT": 3, "mit": 1}, {"license": "mit"}),
        ({"cc-by-nd-2.0": 3}, {"license": "other", "license_name": "cc-by-nd-2.0", "license_link": "LICENSE"}),
        ({"cc-by-4.0": 3, "unknown": 1}, {"license": "other", "license_name": "mixed", "license_link": "LICENSE"}),
    ],
)
def test_license_of_the_whole(licenses: Mapping[str, int], expected: Mapping[str, str]) -> None:
    assert card_license(licenses, "LICENSE") == expected


def test_hub_identifiers_are_identifiers() -> None:
    assert {"cc0-1.0", "cc-by-4.0", "cc-by-nc-sa-2.0", "odbl", "apache-2.0"} <= HUB_IDENTIFIERS
    assert all(re.fullmatch(r"[a-z0-9.+-]+", name) for name in HUB_IDENTIFIERS)


def test_license_file_lists_all(built: Path) -> None:
    assert (built / "LICENSE").read_text() == license_text({"cc-by-4.0": 2, "odd | license": 1, "unknown": 1})
    assert "         1  odd | license\n" in (built / "LICENSE").read_text()


def test_one_known_license_needs_no_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]})
    assert not (tmp_path / "out" / "LICENSE").exists()
    assert read_front_matter((tmp_path / "out" / "README.md").read_text())["license"] == "cc-by-4.0"


@pytest.mark.parametrize(
    ("source", "told", "untold"),
    [
        (
            "coco",
            [
                "COCO's own were drawn by people, as",
                "only its makers know who",
                "without looking at the image",
                "crowd",
            ],
            ["rendered"],
        ),
        ("toyworld", ["rendered scenes", "Masks and links are exact"], ["drawn by people", "without looking"]),
        ("folder", ["may show people", "The masks are those of the source"], ["drawn by people", "rendered"]),
        (
            "hub",
            ["Where the source does not say what its phrases name"],
            ["drawn by people", "Phrases and objects were linked"],
        ),
    ],
)
def test_what_to_be_careful_about_depends_on_the_source(
    built: Path, source: str, told: list[str], untold: list[str]
) -> None:
    manifest = Manifest.read(built)
    changed = Manifest(
        manifest.schema_version,
        manifest.code_version,
        manifest.source_fingerprint,
        {**manifest.recipe, "source": {"name": source, "repo": "user/name"}},
        manifest.parts,
        manifest.stray,
    )
    advice = render_card(changed, Statistics.read(built)).split("careful about")[1]
    assert [text for text in told if text not in advice] == []
    assert [text for text in untold if text in advice] == []


@pytest.mark.parametrize("source", ["coco", "folder"])
def test_a_card_without_masks_speaks_of_none(tmp_path: Path, source: str) -> None:
    phrases = tuple(
        replace(item, object_ids=(), candidates=(), status=PhraseStatus.ABSENT) for item in record(1).phrases
    )
    bare = replace(record(1), objects=(), questions=(), phrases=phrases)
    write_folder(tmp_path / "out", {"train": [rows_of([bare])]}, recipe=RECIPE | {"source": {"name": source}})
    card = (tmp_path / "out" / "README.md").read_text()
    assert read_front_matter(card)["pretty_name"] == "Images and descriptions"
    assert "1 record of 1 image, with 0 object masks\nand 3 noun phrases.\n" in card
    assert "There are no object masks: the source has none" in card
    untrues = ("drawn by people", "*key objects*", "Key objects", "linked", "`unmentioned`")
    for untrue in (*untrues, "same colour"):
        assert untrue not in card.split("## Columns")[0] + card.split("careful about")[1], untrue


@pytest.mark.parametrize(
    ("key_max", "told"), [(None, "The objects that the description\nmentions are"), (2, "the 2 most salient")]
)
def test_which_objects_are_key_objects_is_told(tmp_path: Path, key_max: int | None, told: str) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]}, recipe=RECIPE | {"key_max": key_max})
    assert f"{told} " in (tmp_path / "out" / "README.md").read_text()


def test_options_of_models_that_did_nothing_are_left_out(tmp_path: Path) -> None:
    grounding = GROUNDING | {"captioner": {"prompt": "Describe."}, "filters": {"similarity_min": 0.0}}
    manifest = write_folder(
        tmp_path / "out",
        {"train": [rows_of([scored(1)])]},
        recipe=RECIPE | {"grounding": grounding},
        models=(SHIPPED, DETECTOR),
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The captioner wrote no description." in card
    assert "up to the rounding of models" in card
    assert not [line for line in card.splitlines() if line.startswith(("| `captioner.prompt`", "| `filters.sim"))]
    part = replace(manifest.parts[0], tally=Tally.from_json(manifest.parts[0].tally.to_json()))
    part.tally.notices[NoticeKind.CAPTIONED] += 1
    card = render_card(replace(manifest, parts=(part,)), Statistics.read(tmp_path / "out"))
    assert "| `captioner.prompt` | Describe. |" in card
    assert "wrote no description" not in card


DETECTOR = ModelIdentity(
    "detector", "IDEA-Research/grounding-dino-tiny", "a2bb814dd30d776dcf7e30523b00659f4f141c71", None
)
SEGMENTER = ModelIdentity("segmenter", "my_folder", None, "0123456789abcdef" * 4)
SHIPPED = ModelIdentity("captioner", "toyworld:vlm", None, "f" * 64)
GROUNDING = {
    "detector": {"name": "grounding-dino", "score_min": 0.25},
    "similarity": None,
    "links": {"score_min": 0.35},
    "filters": {"box_share_max": 0.95},
}
FOUND = (
    Drop("detection", "record 1#4", DropReason.DUPLICATE_MASK, "IoU 0.93 with box 0"),
    Drop("annotation", "7", DropReason.RELABELLED, "record 1"),
)


def scored(number: int) -> Record:
    """A record whose objects models have scored, all but the last."""
    base = record(number)
    scores = [Scores(detection=0.25 * place, stability=0.5) for place in (1, 2, 3)]
    marked = (replace(item, scores=score) for item, score in zip(base.objects, scores, strict=False))
    return replace(base, objects=(*marked, base.objects[-1]))


def card_with_models(folder: Path, *models: ModelIdentity, source: str = "folder", notices: Any = ()) -> str:
    recipe = RECIPE | {"source": {"name": source}, "grounding": GROUNDING}
    rows = [rows_of([scored(1), scored(2)])]
    manifest = write_folder(
        folder, {"train": rows}, drops=FOUND, notices=notices, recipe=recipe, models=models, described=False
    )
    return render_card(manifest, compute_statistics(folder, manifest))


def test_models_thresholds_and_scores_are_in_the_card(tmp_path: Path) -> None:
    card = card_with_models(tmp_path, DETECTOR, SEGMENTER)
    assert "## Models and thresholds\n\n| role | model | weights |\n" in card
    lines = card.splitlines()
    assert "| detector | `IDEA-Research/grounding-dino-tiny` | revision `a2bb814dd30d` |" in lines
    assert "| segmenter | `my_folder` | sha256 `0123456789ab` |" in lines
    values = dict(re.findall(r"\| `([a-z_]+\.[a-z_]+)` \| ([\d.]+) \|", card))
    assert values == {"detector.score_min": "0.25", "filters.box_share_max": "0.95", "links.score_min": "0.35"}
    figures = "| `detection` | 6 | 0.500 | 0.250 | 0.250 | 0.500 | 0.750 | 0.750 | the detector's confidence |"
    assert figures in lines
    assert [line.split("`")[1] for line in lines if line.startswith("| `stability`")] == ["stability"]
    assert not [line for line in lines if line.startswith("| `similarity`")]


def test_licenses_of_models_are_beside_those_of_images(tmp_path: Path) -> None:
    unknown = ModelIdentity("captioner", "lab/captioner", "0" * 40, None)
    section = card_with_models(tmp_path, DETECTOR, SEGMENTER, SHIPPED, unknown).split("## Licenses")[1]
    lines = section.split("<!-- datasetkit:end")[0].splitlines()
    assert "| cc-by-4.0 | 2 |" in lines
    assert [line for line in lines if line.startswith("| `")] == [
        "| `IDEA-Research/grounding-dino-tiny` | Apache-2.0 |",
        "| `my_folder` | not known: see where the model comes from |",
        "| `toyworld:vlm` | Apache-2.0, part of datasetkit |",
        "| `lab/captioner` | see [the model's page](https://huggingface.co/lab/captioner) |",
    ]


def test_models_of_the_presets_have_known_licenses(tmp_path: Path) -> None:
    parts = [part for name in presets.NAMES for part in presets.preset(name, {}).values()]
    ids = [part["model"] for part in parts if "model" in part]
    assert ids
    models = [ModelIdentity("detector", name, None, "0" * 64) for name in ids]
    section = card_with_models(tmp_path, *models).split("## Licenses")[1]
    assert section.count("| Apache-2.0") == len(set(ids))


def test_measured_quality_is_told_where_it_applies(built: Path, tmp_path: Path) -> None:
    words = (built / "README.md").read_text()
    assert "those that are right | 0.94 | 0.86 to 0.99 | 144 |" in words
    assert "those that were made | 0.95 | 0.89 to 0.99 | 142 |" in words
    assert "with masks that people\ndrew" in words
    assert "from 50 captions" in words
    found = card_with_models(tmp_path / "models", DETECTOR)
    assert "those that are right | 0.94 | 0.86 to 0.99 | 143 |" in found
    assert "with perfect boxes in place of" in found
    assert "with masks that people" not in found
    exact = RECIPE | {"source": {"name": "toyworld"}}
    manifest = write_folder(tmp_path / "toy", {"train": [rows_of([record(1)])]}, recipe=exact)
    assert "How often links are right" not in render_card(manifest, Statistics.read(tmp_path / "toy"))


def test_quoted_quality_is_consistent() -> None:
    for quality in (BY_WORDS, BY_DETECTIONS):
        for value, (low, high) in ((quality.precision, quality.precision_95), (quality.recall, quality.recall_95)):
            assert 0 < low < value < high < 1


def test_detections_have_a_column_where_there_are_any(built: Path, tmp_path: Path) -> None:
    lines = card_with_models(tmp_path, DETECTOR).splitlines()
    assert "|  | records | annotations | detections | meaning |" in lines
    assert "| read | 2 | 1 | 9 |  |" in lines
    assert f"| dropped: `duplicate_mask` | 0 | 0 | 1 | {DropReason.DUPLICATE_MASK.explanation} |" in lines
    assert "| kept | 2 | 0 | 8 |  |" in lines
    without = (built / "README.md").read_text()
    assert "|  | records | annotations | meaning |" in without.splitlines()
    assert "Models and thresholds" not in without


@pytest.mark.parametrize("source", ["coco", "folder", "toyworld"])
def test_the_card_warns_of_models_whatever_the_source(tmp_path: Path, source: str) -> None:
    notices = (Notice("record 1", NoticeKind.CAPTIONED),)
    advice = card_with_models(tmp_path, SHIPPED, DETECTOR, source=source, notices=notices).split("careful about")[1]
    assert "Masks and links were made by models" in advice
    assert "on photographs, their output means nothing" in advice
    assert "1 description was written by a model" in advice
    assert "An ambiguous phrase names no object" in advice
    for untrue in ("drawn by people", "without looking", "are exact", "has no masks"):
        assert untrue not in advice
    assert ("rendered scenes and the descriptions" in advice) == (source == "toyworld")


@pytest.mark.parametrize("source", ["coco", "parquet", "webdataset"])
def test_objects_with_scores_count_as_found_by_models(tmp_path: Path, source: str) -> None:
    card = card_with_models(tmp_path, source=source)
    assert read_front_matter(card)["annotations_creators"] == ["machine-generated"]
    advice = card.split("careful about")[1]
    assert "The objects come with scores of models that found them before they came here" in advice
    for untrue in ("drawn by people", "by words and categories", "those of the source, as they are there"):
        assert untrue not in advice


def test_only_shipped_models_know_scenes_only(tmp_path: Path) -> None:
    advice = card_with_models(tmp_path, DETECTOR, SEGMENTER).split("careful about")[1]
    assert "Masks and links were made by models" in advice
    assert "on photographs" not in advice
    assert "written by a model" not in advice


def test_bare_images_make_a_card_without_empty_sections(tmp_path: Path) -> None:
    write_folder(
        tmp_path / "out", {"train": [rows_of([bare_record(1)], overlay=False)]}, recipe=RECIPE | {"overlay": False}
    )
    card = (tmp_path / "out" / "README.md").read_text()
    front = read_front_matter(card)
    assert front["task_categories"] == []
    assert [item["name"] for item in front["dataset_info"]["features"]][:2] == ["image", "image_id"]
    assert "How phrases" not in card
    assert "1 record of 1 image, with 0 object masks" in card
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert "overlay" not in loaded.column_names


def test_nothing_kept_still_makes_a_card(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {}, drops=DROPS[:1])
    card = (tmp_path / "out" / "README.md").read_text()
    assert read_front_matter(card)["configs"] == [{"config_name": "default", "data_files": []}]
    assert "| kept | 0 | 0 |  |" in card


@pytest.mark.parametrize("text", ["", "no front matter", "---\n[1]\n---\n", "---\na: [\n---\n", "---\nnever: ends\n"])
def test_a_card_without_front_matter_is_refused(text: str) -> None:
    with pytest.raises(BuiltFolderError, match="front matter"):
        read_front_matter(text)


@pytest.mark.parametrize(
    ("source", "models", "creators"),
    [
        ({"name": "coco"}, (), "found"),
        ({"name": "coco"}, (DETECTOR,), "machine-generated"),
        ({"name": "toyworld"}, (), "machine-generated"),
        ({"name": "hub", "repo": "user/images"}, (), "found"),
    ],
)
def test_who_made_the_masks_and_from_which_dataset(
    tmp_path: Path, source: Mapping[str, str], models: tuple[ModelIdentity, ...], creators: str
) -> None:
    recipe = RECIPE | {"source": dict(source)}
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]}, recipe=recipe, models=models)
    text = (tmp_path / "out" / "README.md").read_text()
    data = DatasetCard(text).data
    assert data.annotations_creators == [creators]
    assert data.language == ["en"]
    assert data.source_datasets == (["user/images"] if source["name"] == "hub" else None)
    assert ("`user/images`" in text.split("## Citation")[1]) == (source["name"] == "hub")
    assert data.to_dict() == dict(read_front_matter(text))


def test_no_phrases_and_masks_claim_no_language_or_annotators(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([bare_record(1)])]})
    front = read_front_matter((tmp_path / "out" / "README.md").read_text())
    assert front["annotations_creators"] == ["no-annotation"]
    assert "language" not in front
    assert "source_datasets" not in front


def test_the_citation_is_bibtex_whatever_the_title(built: Path) -> None:
    blocks = [token for token in MarkdownIt("commonmark").parse(card_of(built, title=NASTY)) if token.type == "fence"]
    (cited,) = [token.content for token in blocks if token.info == "bibtex"]
    assert cited.startswith("@misc{dataset,\n  title = {a|b `c`")
    assert cited.count("{") == cited.count("}")
    assert "\\# g:" in cited
