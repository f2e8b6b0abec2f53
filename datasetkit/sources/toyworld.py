"""Rendered scenes as a source. Owns how a scene becomes a record: nothing is read, and everything is exact.

An object's category is its colour and shape in the domain's words ("red star"): what a caption has to get right for the
object to count as named, and enough to distinguish most objects of a scene. Its last word is the shape. Size remains in
the words of the description, as it depends on the image more than on the object.

Pronouns are phrases too, with the reason ``pronoun``, so that statistics of noun phrases can leave them out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator

from PIL import Image

from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.record import (
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Phrase,
    PhraseKind,
    PhraseStatus,
    Provenance,
    Record,
)
from datasetkit.options import ToyworldOptions
from datasetkit.toyworld.descriptions import Description, describe
from datasetkit.toyworld.domain import BASE, DOMAINS, Domain
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import encode_png, render
from datasetkit.toyworld.sampling import object_count, sample_scene
from datasetkit.toyworld.scenes import Scene, SceneConfig, Split, combinations_for, seed_for, stream

LICENSE = "cc0-1.0"
PRONOUN = "pronoun"

# Part of the fingerprint: increase it with every change that alters an image, a mask or a text.
GENERATOR_VERSION = 1


class ToyworldSource(Source):
    """The first scenes of a split, rendered when they are read.

    The context has no effect: all scenes have one license and one description each.
    """

    def __init__(self, options: ToyworldOptions, context: SourceContext = SourceContext()) -> None:  # noqa: ARG002
        self._count = options.count
        self._split = Split(options.scene_split)
        self._domain = DOMAINS[options.domain]
        self._config = self._domain.scenes(
            SceneConfig(canvas_hw=(options.size_px, options.size_px), combinations=combinations_for(self._split))
        )

    def fingerprint(self) -> str:
        """Return a hex digest of the generator's version and all of its options."""
        facts = {
            "generator": GENERATOR_VERSION,
            "config": dataclasses.asdict(self._config),
            "domain": dataclasses.asdict(self._domain),
            "scenes": [self._split, 0, self._count],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self._count

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each scene in the order of their indices."""
        for index in range(self._count):
            record_id = self._record_id(index)
            count = object_count(seed_for(self._split, index), self._config)
            annotation_ids = tuple(f"{record_id}/{object_id}" for object_id in range(count))
            yield Entry(record_id, annotation_ids, self._split.value, handle=index)

    def read(self, entry: Entry) -> Reading:
        """Render one scene."""
        index: int = entry.handle
        scene = sample_scene(seed_for(self._split, index), self._config)
        pixels = render(scene)
        return Reading(self._record(index, scene, encode_png(pixels)), Image.fromarray(pixels))

    def _record_id(self, index: int, joint: str = "-") -> str:
        """Return a scene's id: its domain (unless that is the base domain), its split and its index."""
        domain = () if self._domain.name == BASE.name else (self._domain.name,)
        return joint.join((*domain, self._split.value, f"{index:06d}"))

    def _record(self, index: int, scene: Scene, png: bytes) -> Record:
        description = describe(scene, self._domain, stream(scene.seed, f"description/{self._domain.name}"))
        question_stream = stream(scene.seed, f"questions/{self._domain.name}")
        record_id = self._record_id(index)
        height, width = self._config.canvas_hw
        uri = "toyworld:" + self._record_id(index, "/")
        return Record(
            record_id=record_id,
            image_id=record_id,
            image=EncodedImage(png, f"{record_id}.png", width, height),
            description=description.text,
            source=Provenance(uri, LICENSE, hashlib.sha256(png).hexdigest()),
            objects=key_objects(scene, description, self._domain),
            phrases=gold_phrases(description),
            questions=ask(scene, self._domain, question_stream, tuple(QuestionType)),
            language="en",
        )


def key_objects(scene: Scene, description: Description, domain: Domain) -> tuple[KeyObject, ...]:
    """Return all objects of a scene with their visible masks; those that the description names are key objects."""
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
    """Return a description's phrases in the form of a record."""
    return tuple(
        Phrase(
            text=phrase.text,
            start=phrase.start,
            end=phrase.end,
            object_ids=phrase.object_ids,
            status=PhraseStatus.MATCHED,
            reason=PRONOUN if phrase.is_pronoun else None,
            kind=PhraseKind.PRONOUN if phrase.is_pronoun else PhraseKind.NOUN,
        )
        for phrase in description.phrases
    )
