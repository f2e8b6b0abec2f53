"""The label map: the categories of a source, unchanged. Owns what a valid label map is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from datasetkit.core.errors import RecordError

UNNAMED = "object"  # category of objects without one, in formats that require one
CategoryId = int | float | str


@dataclass(frozen=True, slots=True)
class Category:
    """One category.

    Args:
        id: id in the source, a number or text.
        name: name in the source.
        supercategory: the more general category; None if the source has none.

    Raises:
        RecordError: the id is neither a finite number nor text, or a name is empty or not text.

    """

    id: CategoryId
    name: str
    supercategory: str | None = None

    def __post_init__(self) -> None:
        is_number = isinstance(self.id, int | float) and not isinstance(self.id, bool) and math.isfinite(self.id)
        if not is_number and not isinstance(self.id, str):
            raise RecordError(f"category id {self.id!r} must be a number or text")
        if not isinstance(self.name, str) or not self.name:
            raise RecordError(f"category {self.id!r} has the name {self.name!r}; give non-empty text")
        if not isinstance(self.supercategory, str | None):
            raise RecordError(f"category {self.id!r} has the supercategory {self.supercategory!r}; give text, or None")

    def to_json(self) -> dict[str, Any]:
        """Return the category as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecordError, TypeError: it is not of that form.

        """
        return cls(**value)


LabelMap = tuple[Category, ...]


def read_label_map(values: Iterable[Mapping[str, Any]]) -> LabelMap:
    """Read a label map from plain JSON.

    Raises:
        RecordError, TypeError: it is not a list of categories with different ids.

    """
    found = tuple(map(Category.from_json, values))
    check_label_map(found)
    return found


def check_label_map(label_map: LabelMap) -> None:
    """Refuse a label map in which an id is used twice.

    Raises:
        RecordError: an id is used twice; names it.

    """
    counts = Counter(category.id for category in label_map)
    if twice := [one for one, count in counts.items() if count > 1]:
        raise RecordError(f"two categories have the id {twice[0]!r}; ids must differ")
