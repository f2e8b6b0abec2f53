"""A build of images of every odd kind: models see what readers of the published dataset see, and masks fit it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import datasetkit as dk
from datasetkit.api.built import Built
from datasetkit.core.detections import Caption, Detections, FloatArray, ModelIdentity, Query, Segment
from datasetkit.core.mask import Mask
from datasetkit.core.rows import row_image
from tests.core.images import encode
from tests.pipeline.builders import put

pytestmark = pytest.mark.slow

BOX_XYXY = (8, 4, 20, 16)


def two_colours(ground: Any, thing: Any, dtype: type = np.uint8) -> NDArray[Any]:
    """Draw a rectangle on a ground, 24 by 32 px, left of and above the centre."""
    pixels = np.empty((24, 32, *np.shape(ground)), dtype)
    pixels[:] = ground
    left, top, right, bottom = BOX_XYXY
    pixels[top:bottom, left:right] = thing
    return pixels


def odd_files() -> dict[str, bytes]:
    """Make images of every kind that readers may interpret differently, upright and rotated if the format allows it."""
    rgb = Image.fromarray(two_colours((40, 90, 140), (220, 200, 30)))
    alpha = Image.fromarray(two_colours((220, 30, 30, 0), (220, 30, 30, 200)))  # all red if alpha is ignored
    grey, palette = rgb.convert("L"), rgb.quantize(4)
    deep = two_colours(300, 3800, np.uint16)  # all white if clipped at 255
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    files = {
        "alpha": (alpha, {"PNG": {}, "WEBP": {}, "TIFF": {}}),
        "grey_alpha": (alpha.convert("LA"), {"PNG": {}}),
        "trns": (rgb, {"PNG": {"transparency": (40, 90, 140)}}),
        "trns_grey": (grey, {"PNG": {"transparency": grey.getpixel((0, 0))}}),
        "trns_palette": (palette, {"PNG": {"transparency": palette.getpixel((0, 0))}}),
        "trns_shares": (palette, {"PNG": {"transparency": bytes([10, 250])}}),
        "sixteen": (deep * 16, {"PNG": {}, "TIFF": {}}),
        "twelve": (deep, {"PNG": {}, "TIFF": {}}),
        "cmyk": (rgb.convert("CMYK"), {"JPEG": {}, "TIFF": {}}),
        "palette": (palette, {"PNG": {}, "GIF": {}}),
        "animated": (rgb, dict.fromkeys(["GIF", "PNG", "WEBP"], frames)),
        "animated_alpha": (alpha, dict.fromkeys(["GIF", "PNG", "WEBP"], frames)),
        "lab": (rgb.convert("LAB"), {"TIFF": {}}),
        "bit": (rgb.convert("1", dither=Image.Dither.NONE), {"PNG": {}, "TIFF": {}}),
        "plain": (rgb, {"JPEG": {}, "PNG": {}, "WEBP": {}}),
    }
    encoded = {}
    for kind, (image, formats) in files.items():
        for name, how in formats.items():
            encoded[f"{kind}.{name.lower()}"] = encode(image, name, **how)
            if name != "GIF":
                encoded[f"turned_{kind}.{name.lower()}"] = encode(image, name, orientation=6, **how)
    return encoded | {"no_end.jpg": encoded["plain.jpeg"].removesuffix(b"\xff\xd9")}


def digest(image: Image.Image) -> str:
    assert image.mode == "RGB"
    return hashlib.sha256(image.tobytes()).hexdigest()


def thing_in(image: Image.Image) -> NDArray[np.bool_]:
    """Return the pixels whose colour differs from that of the corner."""
    pixels = np.asarray(image).astype(int)
    return np.abs(pixels - pixels[0, 0]).max(axis=2) > 60


class Sees:
    """Captioner, detector and segmenter whose answers depend on the pixels that they see."""

    identities: tuple[ModelIdentity, ...] = ()

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {"detector": set(), "segmenter": set()}

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        return [Caption(f"A bus. {digest(image)}") for image in images]

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections]:
        self.seen["detector"] |= set(map(digest, images))
        return [self._detections(image, query) for image, query in zip(images, queries, strict=True)]

    def _detections(self, image: Image.Image, query: Query) -> Detections:
        rows, columns = np.nonzero(thing_in(image))
        box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
        scores = [[0.9 if phrase == "A bus" else 0.0 for phrase in query.phrases]]
        return Detections(np.array(box, np.float64), np.array(scores))

    def segment(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]) -> list[list[Segment]]:
        self.seen["segmenter"] |= set(map(digest, images))
        return [
            [Segment(Mask.from_array(thing_in(image)), None, None) for _ in boxes]
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Sees, dict[str, bytes]]:
    folder, files, models = tmp_path_factory.mktemp("odd"), odd_files(), Sees()
    put(folder / "in", files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        return (
            dk.build(folder / "in", folder / "out", captioner=models, detector=models, segmenter=models),
            models,
            files,
        )


def test_models_see_what_readers_see_and_masks_fit_it(
    built: tuple[Built, Sees, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    out, models, files = built
    rows = datasets.load_dataset(str(out.path), split="train")
    assert {row["record_id"] for row in rows} == files.keys()
    for row in rows:
        image = row["image"].convert("RGB")
        assert row["description"] == f"A bus. {digest(image)}", row["record_id"]
        assert all(digest(image) in seen for seen in models.seen.values())
        assert digest(row_image(row)) == digest(image)
        assert row["source"]["sha256"] == hashlib.sha256(files[row["record_id"]]).hexdigest()
        (mask,) = dk.masks(row)
        expected = thing_in(image)
        assert (mask & expected).sum() / (mask | expected).sum() > 0.95, row["record_id"]


def test_build_of_odd_images_is_valid_and_can_be_rebuilt(
    built: tuple[Built, Sees, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
    out, _, _ = built
    assert out.verify().faults == ()
    again = dk.build(out.path, tmp_path / "again")
    assert again.verify().faults == ()
    assert again.manifest.tally.notices["reencoded"] == 0
