"""The preview page in a real browser, from ``file://``: pointer, keyboard, touch, filters, widths."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

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
from datasetkit.export.preview.cards import PreviewCards
from datasetkit.export.preview.page import write_preview

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
]
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \"'> {{ 7*7 }}"
)
TEXT = "Two cats beside a dog near the sea."


def make_image() -> EncodedImage:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), (90, 120, 150)).save(buffer, "JPEG")
    return EncodedImage(buffer.getvalue(), "image.jpg", 400, 300)


def box(object_id: int, left: int, top: int, category: str, status: ObjectStatus) -> KeyObject:
    mask = np.zeros((300, 400), dtype=bool)
    mask[top : top + 80, left : left + 80] = True
    is_key = status is ObjectStatus.MENTIONED
    return KeyObject(object_id, Mask.from_array(mask), category, is_key, status=status)


def record(record_id: str, description: str | None, **parts) -> Record:
    image = make_image()
    source = Provenance("image.jpg", "cc0-1.0", hashlib.sha256(image.data).hexdigest())
    return Record(record_id, record_id, image, description, source, **parts)


def cats(record_id: str) -> Record:
    return record(
        record_id,
        TEXT,
        objects=(
            box(1, 10, 10, "cat", ObjectStatus.MENTIONED),
            box(2, 110, 10, "cat", ObjectStatus.MENTIONED),
            box(3, 210, 10, "dog", ObjectStatus.CANDIDATE),
            box(4, 310, 10, "dog", ObjectStatus.CANDIDATE),
            box(5, 10, 200, "chair", ObjectStatus.UNMENTIONED),
        ),
        phrases=(
            Phrase("Two cats", 0, 8, (1, 2), score=0.9, status=PhraseStatus.MATCHED),
            Phrase(
                "a dog",
                16,
                21,
                candidates=(Candidate(4, 0.7), Candidate(3, 0.3)),
                status=PhraseStatus.AMBIGUOUS,
                reason="several_fit",
            ),
            Phrase("the sea", 27, 34, status=PhraseStatus.ABSENT, reason="no_category"),
        ),
        questions=(Question("How many cats?", "2", "count", ("1", "2"), (1, 2)),),
    )


def odd_records() -> list[Record]:
    hostile = Phrase(HOSTILE, 0, len(HOSTILE), (1,), status=PhraseStatus.MATCHED)
    spaceless = box(1, 0, 0, "domestic_short_haired_" * 6, ObjectStatus.MENTIONED)
    a_dog = Phrase("a dog", 0, 5, (1,), status=PhraseStatus.MATCHED)
    return [
        record("none", None),
        record("arabic", "قطة سوداء تجلس على الأريكة"),
        record("emoji", "A family 👨‍👩‍👧‍👦 with a dog 🐕‍🦺"),
        record("long", ("one long sentence of a caption " * 200)[:5000]),
        record("holiday_" * 20, "a dog", objects=(spaceless,), phrases=(a_dog,)),
        record(HOSTILE, HOSTILE, objects=(box(1, 0, 0, HOSTILE, ObjectStatus.MENTIONED),), phrases=(hostile,)),
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open records as a page; afterwards, the console must be empty and nothing but the file asked for."""
    complaints: list[str] = []
    requests: list[str] = []
    pages: list[Page] = []

    def opened(*records: Record, **context) -> Page:
        cards = PreviewCards()
        for one in records:
            cards.add(one)
        write_preview(cards, tmp_path / "page.html", "A title")
        page = browser.new_page(viewport={"width": 1400, "height": 900}, **context)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}


def phrase(page: Page, text: str) -> Locator:
    return page.locator(".phrase", has_text=text).first


def lit(page: Page, selector: str) -> list[str]:
    script = "all => all.map(e => e.dataset.object ?? e.textContent).sort()"
    return page.locator(f"{selector}.lit").evaluate_all(script)


def shown(page: Page, selector: str) -> list[str]:
    script = "all => all.filter(e => e.checkVisibility()).map(e => e.dataset.object ?? e.id).sort()"
    return page.locator(selector).evaluate_all(script)


def test_hover_on_a_phrase_lights_exactly_its_masks(show):
    page = show(cats("a"), cats("b"))
    phrase(page, "Two cats").hover()
    assert lit(page, "#c1 .mask") == lit(page, ".mask") == lit(page, ".object") == ["1", "2"]
    assert page.locator("#c1 .shade").count() == 1
    opacities = page.locator("#c1 .mask:not(.lit)").evaluate_all(
        "async all => { await Promise.all(document.getAnimations().map(a => a.finished));"
        " return all.map(e => getComputedStyle(e).opacity) }"
    )
    assert opacities == ["0", "0", "0"]
    page.mouse.move(5, 5)
    assert lit(page, ".mask") == []
    assert page.locator(".shade").count() == 0
    assert page.locator("#tip").is_hidden()


def test_hover_on_a_mask_lights_its_phrases(show):
    page = show(cats("a"))
    page.locator(".mask[data-object='2']").hover()
    assert lit(page, ".phrase") == ["Two cats"]
    assert lit(page, ".mask") == ["2"]
    assert page.locator("#tip").inner_text().startswith("cat 2")
    page.locator(".mask[data-object='3']").hover()
    assert lit(page, ".phrase") == ["a dog"]
    assert lit(page, ".mask") == ["3"]


def test_ambiguous_phrase_shows_candidates_dashed_with_scores(show):
    page = show(cats("a"))
    phrase(page, "a dog").hover()
    assert lit(page, ".mask") == ["3", "4"]
    dashes = page.locator(".mask.lit").evaluate_all("all => all.map(e => getComputedStyle(e).strokeDasharray)")
    assert "none" not in dashes
    assert sorted(page.locator(".label").all_inner_texts()) == ["score 0.30", "score 0.70"]
    assert "reason: several fit" in page.locator("#tip").inner_text()


def test_absent_phrase_says_why_and_lights_nothing(show):
    page = show(cats("a"))
    phrase(page, "the sea").hover()
    assert lit(page, ".mask") == []
    assert "no category" in page.locator("#tip").inner_text()


def test_keyboard_lights_pins_and_lets_go(show):
    page = show(cats("a"))
    page.locator("#c1 .id a").focus()
    page.keyboard.press("Tab")
    assert lit(page, ".mask") == ["1", "2"]
    page.keyboard.press("Enter")
    assert phrase(page, "Two cats").get_attribute("aria-pressed") == "true"
    page.mouse.move(700, 400)
    assert lit(page, ".mask") == ["1", "2"]
    page.keyboard.press("Escape")
    assert lit(page, ".mask") == []
    page.keyboard.press("Tab")
    assert lit(page, ".mask") == ["3", "4"]


def test_tap_pins_and_a_second_tap_lets_go(show):
    page = show(cats("a"), has_touch=True)
    phrase(page, "Two cats").tap()
    assert lit(page, ".mask") == ["1", "2"]
    phrase(page, "Two cats").tap()
    assert lit(page, ".mask") == []


def test_question_lights_what_its_answer_rests_on(show):
    page = show(cats("a"))
    assert not page.locator(".asks").is_visible()
    page.locator("summary", has_text="Questions").click()
    page.locator(".asks").hover()
    assert lit(page, ".mask") == ["1", "2"]


def test_choice_of_masks(show):
    page = show(cats("a"))
    assert shown(page, ".mask") == ["1", "2", "3", "4"]
    page.get_by_text("All objects").click()
    assert shown(page, ".mask") == shown(page, ".object") == ["1", "2", "3", "4", "5"]
    page.get_by_text("No masks").click()
    assert shown(page, ".mask") == []
    phrase(page, "Two cats").hover()
    assert shown(page, ".mask") == ["1", "2"]
    page.get_by_text("1 not mentioned").click()
    assert "5" in shown(page, ".object")


def test_filters_by_word_and_by_status(show):
    page = show(cats("a"), record("b", "A tree."), record("c", "A cat in a tree."))
    page.keyboard.press("/")
    page.keyboard.type("TREE cat")
    assert shown(page, ".record") == ["r3"]
    assert page.locator("#shown").inner_text() == "1 of 3 images"
    page.locator("#filter").fill("chair")
    assert shown(page, ".record") == ["r1"]
    page.locator("#filter").fill("nowhere")
    assert shown(page, ".record") == []
    page.get_by_text("Show all", exact=True).click()
    assert shown(page, ".record") == ["r1", "r2", "r3"]
    page.locator(".status[data-status=ambiguous]").click()
    assert shown(page, ".record") == ["r1"]
    page.locator(".status[data-status=ambiguous]").click()
    assert shown(page, ".record") == ["r1", "r2", "r3"]


def test_hostile_and_odd_text_is_shown_as_it_is(show):
    page = show(*odd_records())
    assert page.title() == "A title"
    assert page.locator(".description").last.text_content() == HOSTILE
    phrase(page, "owned").hover()
    assert lit(page, ".mask") == ["1"]
    assert HOSTILE in page.locator("#tip").inner_text()
    directions = page.locator(".description").evaluate_all("all => all.map(e => getComputedStyle(e).direction)")
    assert directions == ["ltr", "rtl", "ltr", "ltr", "ltr", "ltr"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def described_twice() -> list[Record]:
    """Return two descriptions of one image, with the same objects."""
    first = cats("a")
    text = "A chair."
    chair = Phrase("A chair", 0, 7, (5,), status=PhraseStatus.MATCHED)
    named = {5: ObjectStatus.MENTIONED}
    objects = tuple(
        replace(item, is_key=item.id in named, status=named.get(item.id, ObjectStatus.UNMENTIONED))
        for item in first.objects
    )
    return [first, replace(first, record_id="a/2", description=text, phrases=(chair,), objects=objects, questions=())]


def test_descriptions_of_an_image_share_one_card(show):
    page = show(*described_twice(), cats("b"))
    assert page.locator(".card").count() == 2
    assert page.locator("#c1 .stage img").count() == 1
    phrase(page, "A chair").hover()
    assert lit(page, ".mask") == ["5"]
    page.locator("#c1 .mask[data-object='1']").hover()
    assert lit(page, ".phrase") == ["Two cats"]


def test_filter_hides_descriptions_and_counts_them(show):
    page = show(*described_twice(), cats("b"))
    page.locator(".status[data-status=absent]").click()
    assert shown(page, ".record") == ["r1", "r3"]
    assert page.locator("#c1 .count").inner_text() == "1 of 2 descriptions"
    assert page.locator("#shown").inner_text() == "2 of 2 images, 2 of 3 descriptions"
    page.locator(".status[data-status=absent]").click()
    assert page.locator("#c1 .count").inner_text() == "2 descriptions"


def test_masks_are_outlines_until_filled(show):
    page = show(cats("a"))
    opacity = (
        "async e => { await Promise.all(document.getAnimations().map(a => a.finished));"
        " return Number(getComputedStyle(e).fillOpacity) }"
    )
    mask = page.locator(".mask[data-object='1']")
    assert mask.evaluate(opacity) == 0
    page.get_by_label("Fill masks").check()
    assert mask.evaluate(opacity) == pytest.approx(0.3)
    phrase(page, "Two cats").hover()
    assert mask.evaluate(opacity) == pytest.approx(0.3), "a lit mask stays filled"


def test_arrow_keys_go_from_card_to_card(show):
    page = show(cats("a"), cats("b"), record("c", "A tree."))
    focused = "document.activeElement.id"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "c1"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "c2"
    assert page.locator("#c2").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert lit(page, "#c2 .mask") == ["1", "2"]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "c1"
    page.locator(".status[data-status=absent]").click()
    page.locator("#c2").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "c2", "the third card is hidden"
    page.locator("#filter").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "filter"


@pytest.mark.parametrize("size", [(1400, 700), (390, 844)])
def test_image_stays_in_view_beside_a_long_text(show, size):
    text = f"{'Words and words. ' * 220}Two cats."
    end = Phrase("Two cats", len(text) - 9, len(text) - 1, (1, 2), status=PhraseStatus.MATCHED)
    page = show(replace(cats("a"), description=text, phrases=(end,)), cats("b"))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    phrase(page, "Two cats").scroll_into_view_if_needed()
    phrase(page, "Two cats").hover()
    assert lit(page, ".mask") == ["1", "2"]
    stage = page.locator("#c1 .stage").bounding_box()
    assert stage["y"] >= 0
    assert stage["y"] + stage["height"] <= size[1]
    words = phrase(page, "Two cats").bounding_box()
    assert words["y"] >= stage["y"] + stage["height"] or words["x"] >= stage["x"] + stage["width"]


def test_parts_have_names_for_screen_readers(show):
    page = show(cats("a"))
    button = page.get_by_role("button", name="a dog")
    assert button.get_attribute("aria-pressed") == "false"
    described = page.locator(f"#{button.get_attribute('aria-describedby')}")
    assert "ambiguous" in described.text_content()
    assert page.get_by_role("article", name="a").count() == 1
    assert page.get_by_role("checkbox", name="Fill masks").count() == 1
    assert page.get_by_role("img", name=f"Image 1: {TEXT}").count() == 1


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390])
def test_narrow_page_cuts_nothing(show, colour_scheme, width):
    page = show(*described_twice(), *odd_records(), color_scheme=colour_scheme)
    page.set_viewport_size({"width": width, "height": 740})
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1"
        " && !e.matches('.unseen, .segments input')).map(e => e.className)"
    )
    assert cut == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 20, 22)") == (colour_scheme == "dark")


def test_images_load_and_carry_their_masks(show):
    page = show(cats("a"))
    assert page.locator("img").evaluate("e => e.decode().then(() => e.naturalWidth)") == 400
    stage, svg = page.locator(".stage").bounding_box(), page.locator(".stage svg").bounding_box()
    assert stage == svg
    mask = page.locator(".mask[data-object='2']").bounding_box()
    scale = stage["width"] / 400
    assert mask["x"] - stage["x"] == pytest.approx(110 * scale, abs=2)
    assert mask["width"] == pytest.approx(80 * scale, abs=4)


def test_hole_of_a_mask_is_not_the_mask(show):
    ring = np.zeros((300, 400), dtype=bool)
    ring[50:250, 100:300] = True
    ring[100:200, 150:250] = False
    objects = (KeyObject(1, Mask.from_array(ring), "ring", True, status=ObjectStatus.MENTIONED),)
    page = show(record("a", "A ring.", objects=objects))
    stage = page.locator(".stage").bounding_box()
    page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    assert lit(page, ".mask") == []
    page.mouse.move(stage["x"] + stage["width"] * 120 / 400, stage["y"] + stage["height"] / 2)
    assert lit(page, ".mask") == ["1"]


def test_two_hundred_records_stay_usable(show):
    page = show(*(cats(f"record {number}") for number in range(200)))
    assert page.locator(".record").count() == 200
    last = page.locator("#r200 .phrase").first
    last.scroll_into_view_if_needed()
    last.hover()
    assert lit(page, "#c200 .mask") == lit(page, ".mask") == ["1", "2"]
    page.locator("#filter").fill("chair 199")
    assert shown(page, ".record") == ["r200"]
