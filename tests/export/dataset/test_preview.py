from __future__ import annotations

import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from datasetkit.core.drawing import object_colour
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Provenance,
    Question,
    Record,
)
from datasetkit.export.dataset.preview import view_record, write_preview

HOSTILE = "</script><script>document.title='owned'</script> \"'><img src=x onerror=alert(1)> {{ 7*7 }} <!-- & ]]>"


def make_image(width: int, height: int) -> EncodedImage:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "picture.png", width, height)


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


@pytest.fixture
def render(tmp_path):
    def rendered(*records: Record, **options) -> Page:
        assert write_preview(map(view_record, records), tmp_path / "page.html", "A title", **options) == len(records)
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
    assert "several fit" in page.texts
    assert sorted(tag["data-object"] for tag in page.having("data-label")) == ["7", "8"]


def test_objects_come_by_prominence_and_masks_by_size():
    view = view_record(cats())
    assert [(item.item.id, item.name) for item in view.objects] == [
        (4, "cat 2"),
        (3, "cat 1"),
        (8, "dog 2"),
        (7, "dog 1"),
        (9, "object"),
    ]
    assert [item.item.id for item in view.masks] == [8, 3, 4, 7, 9]
    assert view.unmentioned == 1


def test_description_reads_verbatim_and_overlapping_phrase_is_listed_once_more_below(render):
    record = plain(
        "a red fire hydrant",
        phrases=(
            Phrase("fire hydrant", 6, 18),
            Phrase("a red fire hydrant", 0, 18),
        ),
    )
    assert view_record(record).pieces == (0,)
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
    write_preview([view_record(cats())], tmp_path / "page.html", "t")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg;base64,|#r)', html)


@pytest.mark.parametrize(
    ("size_wh", "shown_wh"),
    [((2000, 1000), (640, 320)), ((400, 600), (400, 600)), ((1, 1), (512, 512)), ((3000, 1), (640, 1))],
)
def test_images_are_shown_at_a_sensible_size(size_wh, shown_wh):
    view = view_record(plain(None, size_wh=size_wh))
    assert view.size_wh == shown_wh
    assert view.pieces == ()


def test_page_of_some_records_says_of_how_many(render):
    for records, options, said in (
        ([cats()], {"total": 12345}, "1 of 12,345 records"),
        ([cats()], {}, "1 record"),
        ([], {}, "0 records"),
    ):
        assert said in [text.strip() for text in render(*records, **options).texts]


def test_equal_records_give_equal_bytes(tmp_path):
    for name in ("first", "second"):
        write_preview(map(view_record, [cats(), plain("Nothing here.", "b")]), tmp_path / name, "t")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
