"""Descriptions of images, written by a captioner. Owns which images get one, and what is noted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from datasetkit.annotation.tasks import Annotator, Task, model_stage
from datasetkit.core.detections import Caption
from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.core.ledger import Notice, NoticeKind
from datasetkit.core.protocols import Captioner, Reading
from datasetkit.runtime.batches import begin_part
from datasetkit.runtime.stages.kinds import AheadStage, Stage


class Describer(Annotator):
    """Describes images that have no description; objects stay as they are.

    Args:
        captioner: writes descriptions.
        recaption: whether it also replaces the descriptions that images have.
        batch: images that the captioner is given at once; halved where memory runs out, until the next part begins.
        device: torch device of the captioner.

    Raises:
        ModelError: the captioner's ``requests`` are not a number of at least 1.

    """

    def __init__(self, captioner: Captioner, *, recaption: bool, batch: int, device: str = "cpu") -> None:
        self._captioner = captioner
        self._requests: int | None = getattr(captioner, "requests", None)
        if self._requests is not None and not (isinstance(self._requests, int) and self._requests > 0):
            raise ModelError(f"the captioner's requests are {self._requests!r}; give a number of at least 1")
        self._recaption = recaption
        self._batch = batch
        self.device = device
        self.identities = captioner.identities

    def begin_part(self) -> None:
        """Announce a part to the captioner; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._captioner)

    def stages(self) -> tuple[Stage[Task], ...]:
        """Return the stage ``caption``; a captioner that asks another machine runs ahead."""
        if self._requests is None:
            return (model_stage("caption", self._captioner, "caption", self._batch, self._ask, _answer),)
        return (
            AheadStage(name="caption", ask=self._ask, answer=_answer, function=self._caption, limit=self._requests),
        )

    def _ask(self, task: Task) -> tuple[Image.Image] | None:
        is_wanted = self._recaption or task.reading.record.description is None
        return (task.reading.pixels,) if is_wanted else None

    def _caption(self, asked: tuple[Image.Image]) -> Caption:
        found: Sequence[Caption | UnusableError] = self._captioner.caption([*asked])
        (caption,) = found
        if isinstance(caption, UnusableError):
            raise caption
        return caption


def _answer(task: Task, caption: Caption) -> Task:
    return replace(task, reading=_with_caption(task.reading, caption))


def _with_caption(reading: Reading, caption: Caption) -> Reading:
    """Put a caption in, to which nothing is linked yet; an empty one leaves the record as it was."""
    if not caption.text:
        return reading
    record = replace(reading.record, description=caption.text, phrases=())
    kinds = [NoticeKind.CAPTIONED, NoticeKind.CAPTION_CUT] if caption.is_cut else [NoticeKind.CAPTIONED]
    notices = tuple(Notice(record.record_id, kind) for kind in kinds)
    return replace(
        reading,
        record=record,
        notices=(*reading.notices, *notices),
        is_annotated=False,
        is_edited=False,
        has_given_links=False,
    )
