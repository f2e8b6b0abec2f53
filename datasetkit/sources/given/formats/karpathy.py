"""Karpathy's splits of COCO and Flickr: images with several sentences, and without objects.

Source: karpathy/neuraltalk, ``dataset_coco.json``: ``images`` of ``filepath`` (COCO alone), ``filename``, ``split`` and
``sentences`` of ``raw`` and ``tokens``. ``restval`` belongs to ``train``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenText
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.given.indexed import Json, JsonList
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader

_RESTVAL = "restval"


class KarpathyReader(Reader):
    """Reads an image with its sentences."""

    summary: ClassVar[str] = "Karpathy's dataset_*.json: images with sentences and splits"

    def __init__(self, given: Given) -> None:
        self._images = JsonList(given.place, "images", given.encoding)
        self.indexes = (self._images,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the first image has sentences and a file name."""
        image = look.first.get("images")
        return isinstance(image, dict) and {"filename", "sentences"} <= image.keys()

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._images))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its sentences."""
        entry = self._images[handle]
        name, folder, split = entry["filename"], entry.get("filepath"), entry.get("split")
        ids = (spelled(entry.get(key)) for key in ("cocoid", "imgid"))
        return GivenImage(
            next((one for one in ids if one is not None), name),
            names=(f"{folder}/{name}", name) if folder else (name,),
            texts=tuple(map(_text, entry["sentences"])),
            split="train" if split == _RESTVAL else split,
        )


def _text(sentence: Json) -> GivenText:
    raw = sentence.get("raw")
    return GivenText(raw if isinstance(raw, str) else " ".join(sentence["tokens"]), spelled(sentence.get("sentid")))
