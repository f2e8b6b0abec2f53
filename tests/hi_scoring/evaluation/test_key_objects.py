"""Captions compared with the objects of the image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Naming
from datasetkit.core.record import KeyObject, ObjectStatus, Scores
from datasetkit.hi_scoring.evaluation.key_objects import key_object_statistics
from datasetkit.hi_scoring.evaluation.metrics import Measured

KNOWN = ("cat", "dog", "car", "tree")


class WordNamer:
    """Names by category, word by word."""

    def name(self, text: str, objects: Sequence[KeyObject]) -> Naming:
        named = [word for word in text.split() if word in KNOWN]
        there = {item.category for item in objects}
        return Naming(
            tuple(word for word in named if word in there),
            tuple(word for word in named if word not in there),
            frozenset(item.id for item in objects if item.category in named),
        )


def _object(number: int, category: str, *, is_key: bool = True) -> KeyObject:
    status = ObjectStatus.MENTIONED if is_key else ObjectStatus.UNMENTIONED
    return KeyObject(number, Mask.from_array(np.ones((2, 2), bool)), category, is_key=is_key, status=status)


CAT_DOG_TREE = (_object(3, "cat"), _object(5, "dog"), _object(9, "tree", is_key=False))


def test_named_objects_are_counted() -> None:
    captions = ["a cat and a cat by a tree", "a car and a dog", "nothing", "a cat"]
    objects = [CAT_DOG_TREE, CAT_DOG_TREE, CAT_DOG_TREE, ()]
    namings = [WordNamer().name(caption, there) for caption, there in zip(captions, objects, strict=True)]
    found = key_object_statistics(namings, objects)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "key_precision": [[3, 3], [1, 2], [0, 0], [0, 1]],
        "key_recall": [[1, 2], [1, 2], [0, 2], [0, 0]],
        "hallucination": [[0, 1], [1, 1], [0, 1], [1, 1]],
    }
    measured = Measured(("a", "b", "c", "d"), found)
    figures = {name: measured.figure(name) for name in found}
    assert figures == {"key_precision": 4 / 6, "key_recall": 2 / 6, "hallucination": 0.5}
    assert [measured.n(name) for name in found] == [3, 3, 4]


@pytest.mark.parametrize(
    ("caption", "objects", "expected"),
    [("nothing", CAT_DOG_TREE, (np.nan, 0, 0)), ("a cat", (_object(0, "cat", is_key=False),), (1, np.nan, 0))],
)
def test_empty_counts_are_not_measured(
    caption: str, objects: tuple[KeyObject, ...], expected: tuple[float, ...]
) -> None:
    measured = Measured(("a",), key_object_statistics([WordNamer().name(caption, objects)], [objects]))
    assert [measured.figure(name) for name in measured.statistics] == pytest.approx(expected, nan_ok=True)


def test_detected_objects_prove_no_absence() -> None:
    found = (replace(CAT_DOG_TREE[0], scores=Scores(detection=0.6)), CAT_DOG_TREE[1])
    measured = Measured(("a",), key_object_statistics([WordNamer().name("a cat and a car", found)], [found]))
    figures = [measured.figure(name) for name in ("key_precision", "key_recall", "hallucination")]
    assert figures == pytest.approx([np.nan, 0.5, np.nan], nan_ok=True)


def test_no_samples_have_no_rows() -> None:
    assert {rows.shape for rows in key_object_statistics([], []).values()} == {(0, 2)}
