"""The preview page's markup: cards, phrases, objects and its opening lines."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from datasetkit.core.drawing import object_colour
from datasetkit.core.errors import RecordError
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    Linker,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Provenance,
    Question,
    Record,
)
from datasetkit.export.preview import cards
from datasetkit.export.preview.cards import PreviewCards
from datasetkit.export.preview.page import write_preview
from datasetkit.export.preview.views import CardView

HOSTILE = "</script><script>document.title='owned'</script> \"'><img src=x onerror=alert(1)> {{ 7*7 }} <!-- & ]]>"


def make_image(width: int, height: int) -> EncodedImage:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "image.png", width, height)


def plain(description: str | None, record_id: str = "a", size_wh: tuple[int, int] = (40, 30), **parts) -> Record:
    image = make_image(*size_wh)
    source = Provenance("train/image.png", "cc0-1.0", hashlib.sha256(image.data).hexdigest())
    return Record(record_id, record_id, image, description, source, **parts)


def box(object_id: int, left: int, top: int, right: int, bottom: int, size_hw=(30, 40), **parts) -> KeyObject:
    mask = np.zeros(size_hw, dtype=bool)
    mask[top:bottom, left:right] = True
    return KeyObject(object_id, Mask.from_array(mask), **parts)


def cats() -> Record:
    text = "Two cats beside a dog."
    mentioned = {"is_key": True, "status": ObjectStatus.MENTIONED}
    return plain(
        text,
        objects=(
            box(3, 0, 0, 10, 10, category="cat", salience=0.25, **mentioned),
            box(4, 15, 0, 25, 10, category="cat", salience=0.5, **mentioned),
            box(7, 0, 20, 10, 30, category="dog", status=ObjectStatus.CANDIDATE),
            box(8, 20, 20, 40, 30, category="dog", status=ObjectStatus.CANDIDATE, is_crowd=True),
            box(9, 30, 0, 40, 10),
        ),
        phrases=(
            Phrase("Two cats", 0, 8, (3, 4), score=0.9, status=PhraseStatus.MATCHED),
            Phrase(
                "a dog",
                16,
                21,
                candidates=(Candidate(8, 0.7), Candidate(7, 0.3)),
                status=PhraseStatus.AMBIGUOUS,
                reason="several_fit",
            ),
        ),
        questions=(Question("How many cats?", "2", "count", ("1", "2"), (3, 4)),),
    )


class Page(HTMLParser):
    """Start tags with their attributes, and the text between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def having(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if name in attributes]


def gathered(*records: Record) -> PreviewCards:
    cards = PreviewCards()
    for record in records:
        cards.add(record)
    return cards


def card(*records: Record) -> CardView:
    (view,) = gathered(*records).views()
    return view


@pytest.fixture
def render(tmp_path):
    def rendered(*records: Record, **options) -> Page:
        assert write_preview(gathered(*records), tmp_path / "page.html", "A title", **options) == len(records)
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return rendered


def test_phrase_carries_its_objects_and_their_colours(render):
    page = render(cats())
    (phrase,) = page.having("data-objects")[:1]
    assert phrase["data-objects"] == "3 4"
    for object_id in (3, 4):
        colour = "#{:02x}{:02x}{:02x}".format(*object_colour(object_id))
        assert colour in phrase["style"]
        (mask,) = [tag for name, tag in page.tags if name == "path" and tag["data-object"] == str(object_id)]
        assert colour in mask["style"]


def test_ambiguous_phrase_carries_candidates_best_first(render):
    page = render(cats())
    assert [tag["data-candidates"] for tag in page.having("data-candidates")] == ["8:0.70 7:0.30"]
    assert "reason: several fit" in page.texts
    assert sorted(tag["data-object"] for tag in page.having("data-label")) == ["7", "8"]


def test_objects_come_by_prominence_and_masks_by_size():
    view = card(cats())
    assert [(item.item.id, item.name) for item in view.objects] == [
        (4, "cat 2"),
        (3, "cat 1"),
        (8, "dog 2"),
        (7, "dog 1"),
        (9, "object"),
    ]
    assert [item.item.id for item in view.masks] == [8, 3, 4, 7, 9]
    assert view.unmentioned == 1


def test_description_is_verbatim_with_overlapping_phrases_below(render):
    record = plain(
        "a red fire hydrant",
        phrases=(
            Phrase("fire hydrant", 6, 18),
            Phrase("a red fire hydrant", 0, 18),
        ),
    )
    assert card(record).records[0].pieces == (0,)
    assert render(record).texts.count("fire hydrant") == 1


def test_hostile_text_stays_text(render):
    objects = (box(1, 0, 0, 9, 9, category=HOSTILE, is_key=True, status=ObjectStatus.MENTIONED),)
    phrases = (Phrase(HOSTILE, 0, len(HOSTILE), (1,), status=PhraseStatus.MATCHED, reason=None),)
    questions = (Question(HOSTILE, HOSTILE, HOSTILE),)
    page = render(plain(HOSTILE, HOSTILE, objects=objects, phrases=phrases, questions=questions))
    assert [name for name, _ in page.tags].count("script") == 1
    assert [name for name, _ in page.tags].count("img") == 1
    assert not page.having("onerror")
    assert page.texts.count(HOSTILE) >= 5


def test_policy_admits_the_one_script_and_no_address(tmp_path):
    write_preview(gathered(cats()), tmp_path / "page.html", "t")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg;base64,|#c)', html)


@pytest.mark.parametrize(
    ("size_wh", "shown_wh"),
    [((2000, 1000), (640, 320)), ((400, 600), (400, 600)), ((1, 1), (512, 512)), ((3000, 1), (640, 1))],
)
def test_images_are_shown_at_a_sensible_size(size_wh, shown_wh):
    view = card(plain(None, size_wh=size_wh))
    assert view.size_wh == shown_wh
    assert view.records[0].pieces == ()


def test_page_of_some_records_says_of_how_many(render):
    for records, options, extent in (
        ([cats()], {"total": 12345}, "1 of 12,345 records, 1 image, 5 objects, 2 key objects."),
        ([cats()], {}, "1 record, 1 image, 5 objects, 2 key objects."),
        ([], {}, "0 records, 0 images, 0 objects, 0 key objects."),
    ):
        assert extent in render(*records, **options).texts


def test_opening_lines_state_result_and_who_made_it(render):
    by_words = [replace(phrase, provenance=Linker.WORDS) for phrase in cats().phrases]
    absent = Phrase("cats", 4, 8, reason="no_instance")
    drawn = [replace(item, provenance=ObjectProvenance(Maker.HUMAN, Maker.HUMAN)) for item in cats().objects]
    page = render(replace(cats(), phrases=(*by_words, absent), objects=tuple(drawn)))
    assert (
        "1 of 3 phrases (33 %) matched with objects; 1 ambiguous, 1 without an object that has a mask."
    ) in page.texts
    (sure,) = [text for text in page.texts if text.startswith("Masks are")]
    assert sure.startswith("Masks are those that came with the images. Links are found by words and categories,")
    assert "135 of 144 links by words were right: 94 % (95 % interval 86 % to 99 %)" in sure
    links = (replace(by_words[0], provenance=Linker.MODEL), by_words[1])
    page = render(replace(cats(), phrases=links))
    (sure,) = [text for text in page.texts if text.startswith("Masks are")]
    assert sure.startswith("Masks are as the source has them. Links are 50 % made by a detector")
    assert "Masks are as the source has them. There are no links." in render(replace(cats(), phrases=())).texts
    assert "No phrases: 0 objects and 0 descriptions, not linked." in render(plain(None)).texts


def test_all_masks_show_at_first_where_no_object_is_key(render):
    unnamed = (box(1, 0, 0, 9, 9),)
    for record, shown in ((cats(), "key"), (plain(None, objects=unnamed), "all")):
        page = render(record)
        assert [tag["data-masks"] for tag in page.having("data-masks")] == [shown]
        assert [tag["value"] for tag in page.having("checked")] == [shown]


def test_cards_show_the_file_name_where_the_id_lacks_it(render):
    def titles(image_id: str, uri: str) -> list[str | None]:
        record = replace(plain("A cat."), image_id=image_id, source=replace(plain(None).source, uri=uri))
        return [tag["title"] for tag in render(record).having("title") if tag.get("class") == "file"]

    assert titles("1", "train/<b>.jpg") == ["<b>.jpg"]
    assert titles("1", "https://host/a/cat.jpg") == ["cat.jpg"]
    assert titles("train/cat", "train/cat.jpg") == []


def test_records_of_an_image_share_a_card_and_its_objects(render):
    first, other = cats(), plain("A cat.", "b")
    second = replace(
        first,
        record_id="a/2",
        description="A cat.",
        objects=tuple(replace(item, is_key=item.id == 3, status=_status(item.id)) for item in first.objects),
        phrases=(Phrase("A cat", 0, 5, (3,), status=PhraseStatus.MATCHED),),
        questions=(),
    )
    views = gathered(first, other, second).views()
    assert [[one.record.record_id for one in view.records] for view in views] == [["a", "a/2"], ["b"]]
    assert [one.number for view in views for one in view.records] == [1, 2, 3]
    flags = {view.key: view.flag for view in views[0].objects}
    assert flags == {
        3: "key",
        4: "key in 1 of 2",
        7: "candidate in 1 of 2",
        8: "candidate in 1 of 2",
        9: "",
    }
    page = render(first, other, second)
    assert [tag["data-objects"] for tag in page.having("data-objects") if "phrase" in tag["class"]] == ["3 4", "3"]
    assert sum(name == "path" for name, _ in page.tags) == 5


def _status(object_id: int) -> ObjectStatus:
    return ObjectStatus.MENTIONED if object_id == 3 else ObjectStatus.UNMENTIONED


def test_objects_that_look_different_stay_apart_in_a_card():
    mentioned = {"category": "cat", "is_key": True, "status": ObjectStatus.MENTIONED}
    first = plain("Cats.", objects=(box(0, 0, 0, 9, 9, **mentioned), box(1, 0, 0, 9, 9, **mentioned)))
    moved = (box(0, 5, 0, 9, 9, **mentioned), box(1, 0, 0, 9, 9, **mentioned))
    view = card(first, replace(first, record_id="b", objects=moved))
    assert sorted(one.key for one in view.objects) == [0, 1, 2]
    assert {one.key: one.flag for one in view.objects} == {
        0: "key",
        1: "key in 1 of 2",
        2: "key in 1 of 2",
    }


def test_objects_beyond_the_most_drawn_are_counted(render, monkeypatch):
    monkeypatch.setattr(cards, "DRAWN_MAX", 2)
    page = render(cats())
    assert sum(name == "path" for name, _ in page.tags) == 2
    (note,) = [text for text in page.texts if "neither drawn nor listed" in text]
    assert note.startswith("3 more objects are")
    assert [tag["data-objects"] for tag in page.having("data-objects") if "phrase" in tag["class"]] == ["3 4"]
    assert "2 not listed" in page.texts


def test_another_size_for_the_same_image_is_refused():
    image = replace(make_image(40, 30), width=30, height=40)
    with pytest.raises(RecordError, match="40x30 px; width and height are 30x40"):
        gathered(replace(plain(None), image=image))
    with pytest.raises(RecordError, match="40x30 px; another record of it says otherwise"):
        gathered(plain(None), replace(plain(None), record_id="b", image=image))


def test_equal_records_give_equal_bytes(tmp_path):
    for name in ("first", "second"):
        write_preview(gathered(cats(), plain("Nothing here.", "b")), tmp_path / name, "t")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
