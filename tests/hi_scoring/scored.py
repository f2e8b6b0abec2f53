"""Rows, an already loaded model, and whole runs for tests of scoring."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.data.datasets import Data, DataIdentity
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.dataset_scores import score_dataset
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.images import sample
from tests.hi_scoring.tiny_models import tiny

RESULTS = ("scores.safetensors", "scores.parquet", "layers.parquet", "scores.json", "drops.jsonl")
BATCH = 4


@dataclass(frozen=True)
class TinySubject(Subject):
    """The tiny model of a family instead of a loaded one."""

    name: str = "llava"
    weights: str = "a"

    @property
    def model(self) -> Any:  # type: ignore[override]
        return tiny(self.name).model

    def load(self) -> Any:
        return copy.deepcopy(self.model)

    @property
    def config(self) -> Any:  # type: ignore[override]
        return tiny(self.name).model.config

    @property
    def processor(self) -> Any:  # type: ignore[override]
        return tiny(self.name).processor

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity("model", self.name, None, self.weights)


class UnusedSubject(TinySubject):
    """A model with an identity only; accessing the model fails."""

    @property
    def model(self) -> Any:  # type: ignore[override]
        raise AssertionError("the model was asked for")


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def row(number: int, **more: Any) -> dict[str, Any]:
    """A row in datasetkit's format, with two key objects and the phrases that name them."""
    one = sample(number)
    return {
        "record_id": one.record_id,
        "image": {"bytes": png(one.image), "path": f"{number}.png"},
        "description": one.text,
        "objects": [
            {"id": place, "mask": mask.to_coco(), "is_key": True, "is_crowd": False}
            for place, mask in enumerate(one.objects)
        ],
        "phrases": [
            {"start": mention.span[0], "end": mention.span[1], "object_ids": mention.objects, "status": "matched"}
            for mention in one.mentions
        ],
    } | more


def plain_row(number: int, **more: Any) -> dict[str, Any]:
    """A row in another format: an image, a text and masks, without phrases."""
    one = sample(number)
    return {"image": {"bytes": png(one.image)}, "text": one.text, "masks": list(one.masks)} | more


def data_of(rows: Sequence[Mapping[str, Any]], name: str = "rows") -> Data:
    record_ids = [one.get("record_id") for one in rows] if isinstance(rows, list) else None
    return Data(rows, DataIdentity(name, "train", None, None, len(rows)), record_ids)


def score(
    folder: Path, data: Data, subject: Subject | None = None, *, overwrite: bool = False, **options: Any
) -> HeadScores:
    """Score in one process, with the tiny LLaVA by default."""
    scores = score_dataset(
        subject or TinySubject(), data, ScoreOptions(**options), folder, batch=BATCH, overwrite=overwrite
    )
    assert scores is not None
    return scores


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a finished run."""
    return {name: (folder / name).read_bytes() for name in RESULTS}
