"""Descriptions of images, written by a captioner. Owns which images get one, and what is noted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from datasetkit.core.detections import Caption
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import Drop, Notice, NoticeKind
from datasetkit.core.protocols import Captioner, Reading
from datasetkit.runtime.batches import Batches, begin_part
from datasetkit.runtime.timers import Stages


class Describer:
    """Describes images that have no description; objects stay as they are.

    Args:
        captioner: writes descriptions.
        recaption: whether it also replaces the descriptions that images have.
        batch: images that the captioner is given at once; halved where memory runs out, until the next part begins.
        stages: clocks; ``caption`` is counted in images.

    """

    def __init__(self, captioner: Captioner, *, recaption: bool, batch: int, stages: Stages) -> None:
        self._captioning: Batches[Image.Image, Caption] = Batches(captioner.caption, batch, "images of the captioner")
        self._captioner = captioner
        self._recaption = recaption
        self._stages = stages
        self.identities = captioner.identities

    def begin_part(self) -> None:
        """Restore batches; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._captioning, self._captioner)

    def annotate(self, readings: Sequence[Reading]) -> list[Reading | Drop]:
        """Describe images; see :class:`datasetkit.core.protocols.Annotator`."""
        return [
            Drop("record", reading.record.record_id, result.reason, result.detail)
            if isinstance(result, UnusableError)
            else result
            for reading, result in zip(readings, self.describe(readings), strict=True)
        ]

    def describe(self, readings: Sequence[Reading]) -> list[Reading | UnusableError]:
        """Return the readings, in order, those that were wanted with a description; an error where there is none."""
        wanted = [
            index for index, reading in enumerate(readings) if self._recaption or reading.record.description is None
        ]
        results: list[Reading | UnusableError] = list(readings)
        if not wanted:
            return results
        with self._stages.timed("caption", len(wanted)):
            captions = self._captioning.run([readings[index].pixels for index in wanted])
        for index, caption in zip(wanted, captions, strict=True):
            results[index] = caption if isinstance(caption, UnusableError) else _with_caption(readings[index], caption)
        return results


def _with_caption(reading: Reading, caption: Caption) -> Reading:
    """Put a caption in, to which nothing is linked yet; an empty one leaves the record as it was."""
    if not caption.text:
        return reading
    record = replace(reading.record, description=caption.text, phrases=())
    kinds = [NoticeKind.CAPTIONED, NoticeKind.CAPTION_CUT] if caption.is_cut else [NoticeKind.CAPTIONED]
    notices = tuple(Notice(record.record_id, kind) for kind in kinds)
    return replace(reading, record=record, notices=(*reading.notices, *notices), is_annotated=False, is_edited=False)
