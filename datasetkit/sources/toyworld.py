"""Rendered scenes as a source. Owns how a scene becomes a record: nothing is read, everything is exact.

An object's category is its colour and shape in the domain's words ("red star"): what a caption has to get right for the
object to count as named, and enough to tell most objects of a scene apart. Its last word is the shape. Size stays in
the words of the description, as it says more about the picture than about the thing.

Pronouns are phrases too, with the reason ``pronoun``, so that figures about noun phrases can leave them out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from datasetkit.core.errors import RecipeError
from datasetkit.core.ledger import Drop
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Aligner, Entry, Reading
from datasetkit.core.record import EncodedImage, KeyObject, ObjectStatus, Phrase, PhraseStatus, Provenance, Record
from datasetkit.options import Recipe
from datasetkit.toyworld.descriptions import Description, describe
from datasetkit.toyworld.domain import BASE, DOMAINS, Domain
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import encode_png, render
from datasetkit.toyworld.sampling import object_count, sample_scene
from datasetkit.toyworld.scenes import Scene, SceneConfig, Split, combinations_for, seed_for, stream

LICENSE = "cc0-1.0"
PRONOUN = "pronoun"

# Part of the fingerprint: raise it with every change that alters a picture, a mask or a text.
GENERATOR_VERSION = 1


@dataclass(frozen=True, slots=True)
class ToyworldSource:
    """Scenes ``first`` to ``first + count - 1`` of a split, rendered as they are read.

    Args:
        count: how many scenes.
        split: which split; its scenes, seeds and held-out combinations are its own.
        canvas_hw: height and width of the pictures, px; objects grow with the shorter side.
        domain: words, style and backgrounds.
        first: index of the first scene in the split.

    Raises:
        RecipeError: there is no scene to make, or the canvas is too small or too large.

    """

    count: int
    split: Split = Split.TEST
    canvas_hw: tuple[int, int] = (128, 128)
    domain: Domain = BASE
    first: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered before a build starts."""
        if self.count < 1 or self.first < 0:
            raise RecipeError(f"count {self.count} and first {self.first}: give at least one scene, from 0 on")
        SceneConfig(canvas_hw=self.canvas_hw)

    @classmethod
    def from_recipe(cls, recipe: Recipe, aligner: Aligner) -> ToyworldSource:  # noqa: ARG003 - every source's signature
        """Open the source that a recipe describes."""
        options: Any = recipe.source
        canvas_hw = (options.size_px, options.size_px)
        return cls(options.count, Split(options.scene_split), canvas_hw, DOMAINS[options.domain])

    def fingerprint(self) -> str:
        """Hex digest of the generator's version and of everything that it is told."""
        told = {
            "generator": GENERATOR_VERSION,
            "config": dataclasses.asdict(self._config),
            "domain": dataclasses.asdict(self.domain),
            "scenes": [self.split, self.first, self.count],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        """How many scenes there are."""
        return self.count

    def entries(self) -> Iterator[Entry]:
        """Announce the scenes in the order of their indices."""
        config = self._config
        for index in range(self.first, self.first + self.count):
            record_id = self._record_id(index)
            count = object_count(seed_for(self.split, index), config)
            annotation_ids = tuple(f"{record_id}/{object_id}" for object_id in range(count))
            yield Entry(record_id, annotation_ids, self.split.value, handle=index)

    def read(self, entry: Entry) -> Reading:
        """Render one scene."""
        index: int = entry.handle
        scene = sample_scene(seed_for(self.split, index), self._config)
        pixels = render(scene)
        return Reading(self._record(index, scene, encode_png(pixels)), Image.fromarray(pixels))

    def stray_drops(self) -> Iterator[Drop]:
        """There are none."""
        return iter(())

    @property
    def _config(self) -> SceneConfig:
        config = SceneConfig(canvas_hw=self.canvas_hw, combinations=combinations_for(self.split))
        return self.domain.scenes(config)

    def _record_id(self, index: int) -> str:
        return "-".join((*self._place, f"{index:06d}"))

    @property
    def _place(self) -> tuple[str, ...]:
        """Where scenes stand in the world; only other domains than the base are named."""
        return (self.split.value,) if self.domain.name == BASE.name else (self.domain.name, self.split.value)

    def _record(self, index: int, scene: Scene, png: bytes) -> Record:
        description = describe(scene, self.domain, stream(scene.seed, f"description/{self.domain.name}"))
        question_stream = stream(scene.seed, f"questions/{self.domain.name}")
        record_id = self._record_id(index)
        height, width = self.canvas_hw
        uri = "toyworld:" + "/".join((*self._place, f"{index:06d}"))
        return Record(
            record_id=record_id,
            image_id=record_id,
            image=EncodedImage(png, f"{record_id}.png", width, height),
            description=description.text,
            source=Provenance(uri, LICENSE, hashlib.sha256(png).hexdigest()),
            objects=key_objects(scene, description, self.domain),
            phrases=gold_phrases(description),
            questions=ask(scene, self.domain, question_stream, tuple(QuestionType)),
        )


def key_objects(scene: Scene, description: Description, domain: Domain) -> tuple[KeyObject, ...]:
    """All objects of a scene with their visible masks; those that the description names are key objects."""
    mentioned = description.mentioned
    return tuple(
        KeyObject(
            id=index,
            mask=Mask.from_array(mask),
            category=domain.category(scene, index),
            is_key=index in mentioned,
            status=ObjectStatus.MENTIONED if index in mentioned else ObjectStatus.UNMENTIONED,
        )
        for index, mask in enumerate(visible_masks(scene))
    )


def gold_phrases(description: Description) -> tuple[Phrase, ...]:
    """A description's phrases as a record holds them."""
    return tuple(
        Phrase(
            text=phrase.text,
            start=phrase.start,
            end=phrase.end,
            object_ids=phrase.object_ids,
            status=PhraseStatus.MATCHED,
            reason=PRONOUN if phrase.is_pronoun else None,
        )
        for phrase in description.phrases
    )
