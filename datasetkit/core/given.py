"""What a data set states about an image, in whatever format. Owns the one form that all readers fill.

A reader only parses: coordinates are converted to pixels, but nothing is checked against the image. Boxes are cut to
the image, masks are drawn and spans are verified when a record is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasetkit.core.ledger import PassedOverKind
from datasetkit.core.mask import Box
from datasetkit.core.record import Linker, Maker, Question, Scores
from datasetkit.core.text import Explained


class NoLink(Explained):
    """Why words of a data set that links words and objects have no object."""

    NOT_VISUAL = "not_visual", "the source states that the words name nothing that can be seen"
    SCENE = "scene", "the source states that the words name the scene as a whole"
    NO_BOX = "no_box", "the source states that what the words name has no box"
    NO_RELATION = "no_relation", "the source marks the words, and relates them to no object"
    OBJECT_DROPPED = "object_dropped", "the source links the words to an object that was dropped"
    CHECKED_ABSENT = "checked_absent", "somebody looked for it and did not find it"


@dataclass(frozen=True, slots=True)
class GivenObject:
    """An object.

    Args:
        key: what links call it, unique in its image.
        category: name of its category, or None if the data set states none.
        box_xywh: left, top, width, height, px, from 0, with an exclusive right and lower end; may exceed the image.
        mask: a segmentation in one of COCO's forms, or an array of shape (H, W), dtype bool, or a function that returns
            one of these; None without a mask.
        points_xy: points on it, px, shape (N, 2); they make no object by themselves.
        is_crowd: whether it covers several things that were not separated.
        scores: scores of the models that found it.
        maker: who made box and mask.
        source_id: its id in the data set; None if it has none.

    """

    key: str
    category: str | None = None
    box_xywh: Box | None = None
    mask: Any = None
    points_xy: tuple[tuple[float, float], ...] = ()
    is_crowd: bool = False
    scores: Scores = Scores()
    maker: Maker = Maker.HUMAN
    source_id: str | None = None

    def __post_init__(self) -> None:
        _check_texts(category=self.category, id=self.source_id)


@dataclass(frozen=True, slots=True)
class GivenPhrase:
    """Words of a text, and the objects that they name.

    Args:
        objects: keys of the objects; none if the data set states that the words have no object, see ``reason``.
        start: index of the first character (code points); None if the data set states the words alone.
        end: index after the last character; None as ``start``.
        text: the words as the data set repeats them, by which the span is verified; None if it states the span alone.
        score: confidence of the link in [0, 1]; None if not measured.
        reason: why no object is linked; None if there are objects.

    """

    objects: tuple[str, ...]
    start: int | None = None
    end: int | None = None
    text: str | None = None
    score: float | None = None
    reason: NoLink | None = None


@dataclass(frozen=True, slots=True)
class GivenText:
    """A description.

    Args:
        text: the words.
        id: its id in the data set; None if it has none.
        phrases: links that come with it.

    """

    text: str
    id: str | None = None
    phrases: tuple[GivenPhrase, ...] = ()

    def __post_init__(self) -> None:
        _check_texts(id=self.id)
        if not isinstance(self.text, str):
            raise TypeError(f"a description is {type(self.text).__name__}, not text")


@dataclass(frozen=True, slots=True)
class GivenImage:
    """An image, and all that is known about it.

    Args:
        id: its id in the data set.
        entry: id of this entry, where several entries describe one image; None where the image's id is enough.
        names: names that its file may have, most likely first; several for data sets whose folders differ from them.
        data: its file, where the data set contains it, or a function that reads it.
        spare: returns its file from the data set, which is used if no file of these names is found.
        size_wh: width and height, px, as the data set states them; a side is None where it does not.
        are_shares: whether boxes, polygons and points are shares of the sides of the upright image instead of px; a
            stated size is then that of any scaled copy, so that only its ratio counts.
        texts: descriptions.
        objects: all objects.
        links: who linked words and objects; None if the data set links none, so that words are aligned.
        absent: categories that were looked for and are not in the image.
        partial: categories of which only some objects are annotated.
        synonyms: other words for categories, by category.
        is_searched: whether somebody looked for objects, so that an image without objects has none.
        questions: questions with their answers.
        split: split in the data set, or None.
        license: license of the image, or None.
        uri: address of the image, or None.
        sha256: hex digest of the file, as the data set states it, by which the file is found if its name is not.
        passed_over: what the data set states and a record cannot hold: the number of items by kind and name.

    """

    id: str
    entry: str | None = None
    names: tuple[str, ...] = ()
    data: bytes | Callable[[], bytes] | None = field(default=None, repr=False)
    spare: Callable[[], bytes] | None = None
    size_wh: tuple[int | None, int | None] = (None, None)
    are_shares: bool = False
    texts: tuple[GivenText, ...] = ()
    objects: tuple[GivenObject, ...] = ()
    links: Linker | None = None
    absent: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_searched: bool = False
    questions: tuple[Question, ...] = ()
    split: str | None = None
    license: str | None = None
    uri: str | None = None
    sha256: str | None = None
    passed_over: Mapping[tuple[PassedOverKind, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_texts(id=self.id, license=self.license, uri=self.uri)
        if not all(isinstance(name, str) and name for name in self.names):
            raise TypeError(f"the names of its file are {self.names}, not texts")


def _check_texts(**values: object) -> None:
    """Check values that a reader passes on from its file as they are.

    Raises:
        TypeError: one of them is neither a text nor null.

    """
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is {type(value).__name__}, not text")
