"""The README's images: a preview of photographs, and head scores of the shipped model. Owns what they show.

``python -m tools.readme_images`` writes both to ``docs/images``; it needs Chromium, and takes about two minutes.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

import datasetkit as dk
from datasetkit.hi_scoring.data.datasets import SCORED, open_data
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.report.plots import png
from datasetkit.hi_scoring.scores.dataset_scores import looked_at
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.scores.scorer import LookedAt

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTOGRAPHS = REPOSITORY / "examples" / "photographs"
IMAGES = REPOSITORY / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
SHOWN = ("A silver spoon and a red cup", "A white rocket stands between")
SCENES, POSITIONS, SCORE = 60, "phrase", "hi_lift"
MODEL = "toyworld:vlm"
_PAGE_WIDTH_PX, _PAGE_HEIGHT_PX, _MARGIN_PX = 1200, 12_000, 20
_COLOURS = 256
_HEAT_MAP, _WHITE_ABOVE = "viridis", 0.6


def write_preview(target: Path, folder: Path) -> None:
    """Write a PNG file of two images of the photographs' preview page, one below the other."""
    built = dk.build(
        "coco",
        folder / "photographs",
        images=PHOTOGRAPHS,
        instances=PHOTOGRAPHS / "instances.json",
        captions=PHOTOGRAPHS / "captions.json",
        caption="first",
    )
    page_file = built.preview().path
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        # As tall as the page: images that nobody scrolls to are not loaded, and what sticks to the top covers records.
        page = browser.new_page(viewport={"width": _PAGE_WIDTH_PX, "height": _PAGE_HEIGHT_PX})
        page.goto(page_file.resolve().as_uri())
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        shots = [screenshot(page, page.locator("article", has_text=words).first) for words in SHOWN]
        browser.close()
    save(below(shots), target)


def screenshot(page: Page, record: Locator) -> Image.Image:
    """Return what an image of the page looks like, with the page's margin on both sides."""
    box = record.bounding_box()
    if box is None:
        raise RuntimeError(f"{record} is not on the page")
    clip = box | {"x": box["x"] - _MARGIN_PX, "width": box["width"] + 2 * _MARGIN_PX}
    return Image.open(io.BytesIO(page.screenshot(clip=clip)))


def save(image: Image.Image, target: Path) -> None:
    """Write a PNG file with a palette, which is a third as large as one without."""
    palette = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    palette.save(target, optimize=True)


def below(images: Sequence[Image.Image]) -> Image.Image:
    """Put images of one width below each other."""
    whole = Image.new("RGB", (images[0].width, sum(image.height for image in images)))
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    return whole


def write_head_scores(target: Path, folder: Path) -> None:
    """Write a PNG file of a map of head scores, and of where the best head looks in one scene."""
    built = dk.build("toyworld", folder / "scenes", count=SCENES, preset="none", overlay=False)
    dk.score(MODEL, built.path, folder / "scores", by=f"{SCORE}:{POSITIONS}")
    scores = HeadScores.load(folder / "scores")
    (best,) = scores.top(1, f"{SCORE}:{POSITIONS}")
    rows = open_data(str(built.path), None, None, SCORED, "train")
    subject = Subject(MODEL, None, "auto", "float32", None)
    looked = looked_at(subject, rows, scores.options, [best], SCENES, POSITIONS)
    save(Image.open(io.BytesIO(png(lambda: drawn(scores, best, typical(scores, best, looked))))), target)


def typical(scores: HeadScores, head: Head, looked: Sequence[LookedAt]) -> LookedAt:
    """Return the sample in which a head's score is nearest to its mean."""
    samples = scores.values[SCORE, POSITIONS][:, head.layer, head.head]
    distance = np.abs(samples - scores.mean(SCORE, POSITIONS)[head.layer, head.head])
    record_id = scores.record_ids[int(np.nanargmin(distance))]
    return next(one for one in looked if one.sample.record_id == record_id)


def drawn(scores: HeadScores, best: Head, looked: LookedAt) -> Figure:
    """Draw the map, the scene with its key objects, and the attention of the best head."""
    figure = Figure(figsize=(9.6, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.75, 1, 1))
    draw_map(left, scores.mean(SCORE, POSITIONS), best)
    titles = ("one scene, its key\nobjects outlined", f"where head {best.head} of\nlayer {best.layer} looks")
    for axes, title in zip((middle, right), titles, strict=True):
        axes.imshow(np.asarray(looked.sample.image))
        axes.set_title(title)
        axes.set_axis_off()
    (view,) = looked.geometry.views
    edges = (view.left_right[0, 0], view.left_right[-1, 1], view.top_bottom[-1, 1], view.top_bottom[0, 0])
    right.imshow(looked.attention[best][view.tokens], cmap="inferno", alpha=0.75, extent=edges, interpolation="nearest")
    for axes in (middle, right):
        for mask in looked.sample.masks:
            axes.contour(mask, levels=[0.5], colors="white", linewidths=1.6)
    return figure


def draw_map(axes: Axes, values: np.ndarray, best: Head) -> None:
    """Draw the scores of all heads, each with its number, the best one framed."""
    norm = Normalize(0, float(values.max()))
    axes.imshow(values, cmap=_HEAT_MAP, norm=norm, aspect="auto")
    for (layer, head), value in np.ndenumerate(values):
        colour = "black" if norm(value) > _WHITE_ABOVE else "white"
        axes.text(head, layer, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    axes.add_patch(Rectangle((best.head - 0.5, best.layer - 0.5), 1, 1, fill=False, edgecolor="#c0392b", linewidth=2.5))
    axes.set_title("HI lift of each head: how well its attention\ncovers the objects that are named, above chance")
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_xticks(range(values.shape[1]))
    axes.set_yticks(range(values.shape[0]))
    axes.spines[:].set_visible(False)


def main() -> None:
    """Write both images."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_preview(IMAGES / "preview.png", Path(folder))
        write_head_scores(IMAGES / "head-scores.png", Path(folder))


if __name__ == "__main__":
    main()
