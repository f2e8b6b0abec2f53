"""An image on its way through the models. Owns how a model becomes a stage, and what every annotator can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasetkit.annotation.alignment import PhraseQuery
from datasetkit.core.detections import Detections, Grounding, ModelIdentity, Query, Region, Removal, Segment
from datasetkit.core.ledger import Drop, NoticeKind
from datasetkit.core.protocols import NounPhrase, Prepared, Preparer, Reading
from datasetkit.runtime.stages.chain import pool_of, run
from datasetkit.runtime.stages.gathering import Bounds
from datasetkit.runtime.stages.kinds import DeviceStage, Failed, Stage
from datasetkit.runtime.stages.timers import Stages


@dataclass(frozen=True, slots=True)
class Found:
    """What models found in an image.

    Args:
        regions: detections that are kept so far.
        removals: the others.
        notices: what happened to the query.

    """

    regions: tuple[Region, ...]
    removals: tuple[Removal, ...]
    notices: tuple[NoticeKind, ...]


_NO_QUERY = PhraseQuery(Query("", ()), ())
_NO_BOXES = Detections(np.zeros((0, 4)), np.zeros((0, 0)))
_NOTHING = Found((), (), ())


@dataclass(frozen=True, slots=True)
class Task:
    """An image, and what is known about it so far; each stage fills one of the other fields.

    Args:
        reading: the image and its record.
        nouns: noun phrases of the description.
        asked: the query for them.
        detections: boxes.
        packed: a mask for each box, as it left the device.
        segments: a mask for each box.
        grounding: what a grounder found, in place of boxes and masks.
        found: what is left of it after filters and cleaning.

    """

    reading: Reading
    nouns: tuple[NounPhrase, ...] = ()
    asked: PhraseQuery = _NO_QUERY
    detections: Detections = _NO_BOXES
    packed: Any = None
    segments: tuple[Segment, ...] = ()
    grounding: Grounding | None = None
    found: Found = _NOTHING


@dataclass(frozen=True, slots=True)
class _Spread:
    """A preparer that is called with a tuple of its arguments."""

    preparer: Preparer

    def __call__(self, asked: tuple[Any, ...]) -> Prepared:
        return self.preparer(*asked)


def model_stage(
    name: str,
    model: Any,
    method: str,
    size: int,
    ask: Callable[[Task], tuple[Any, ...] | None],
    answer: Callable[[Task, Any], Task],
) -> DeviceStage[Task]:
    """Return the stage of a model; see :class:`datasetkit.core.protocols.PreparedModel`.

    Args:
        name: of the stage.
        model: a captioner, detector, segmenter or grounder.
        method: what is called where it has no preparer.
        size: images per call.
        ask: returns what the model is called with for one image, the image first; None if it is not called.
        answer: returns the task with the model's answer.

    """
    preparer = getattr(model, "preparer", None)

    def forward(asked: Sequence[tuple[Any, ...]], prepared: Sequence[Any]) -> Sequence[Any]:
        columns = [list(column) for column in zip(*asked, strict=True)]
        answers: Sequence[Any] = (
            getattr(model, method)(*columns) if preparer is None else model.forward(list(prepared), *columns)
        )
        return answers

    prepare = None if preparer is None else _Spread(preparer)
    return DeviceStage(name=name, ask=ask, answer=answer, forward=forward, size=size, prepare=prepare)


class Annotator(ABC):
    """Annotates images with models, by stages.

    Attributes:
        identities: weights in use.
        device: torch device of the models.

    """

    identities: tuple[ModelIdentity, ...]
    device: str

    @abstractmethod
    def begin_part(self) -> None:
        """Announce a part to the models; see :class:`datasetkit.core.protocols.PartAware`."""

    @abstractmethod
    def stages(self) -> tuple[Stage[Task], ...]:
        """Return the stages of one run; batch sizes that were halved in another run are whole again."""

    def annotate(self, readings: Sequence[Reading]) -> list[Reading | Drop]:
        """Annotate readings as one part; image and source are unchanged.

        Returns:
            in the order of ``readings``: the annotated reading, or a drop of scope ``record`` for an image that cannot
            be annotated.

        """
        self.begin_part()
        chain = self.stages()
        with closing(pool_of(chain, 1, "shared")) as pool:
            return [
                drop_of(done) if isinstance(done, Failed) else done.reading
                for done in run(map(Task, readings), chain, pool, Stages(), bounds=Bounds())
            ]


def drop_of(failed: Failed[Task]) -> Drop:
    """Return the drop of an image that a stage could not use."""
    return Drop("record", failed.item.reading.record.record_id, failed.error.reason, failed.error.detail)
