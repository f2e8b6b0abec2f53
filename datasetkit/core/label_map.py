"""The label map: a source's categories as it has them. Owns what a well-formed one is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from datasetkit.core.errors import RecordError

UNNAMED = "object"  # what formats that demand a category call objects without one
CategoryId = int | float | str


@dataclass(frozen=True, slots=True)
class Category:
    """One category.

    Args:
        id: as the source has it: a number, or a text.
        name: as the source has it.
        supercategory: what it belongs to; None where the source does not say.

    Raises:
        RecordError: the id is neither a finite number nor a text, or a name is not a text or empty.

    """

    id: CategoryId
    name: str
    supercategory: str | None = None

    def __post_init__(self) -> None:
        is_number = isinstance(self.id, int | float) and not isinstance(self.id, bool) and math.isfinite(self.id)
        if not is_number and not isinstance(self.id, str):
            raise RecordError(f"category id {self.id!r} must be a number or a text")
        if not isinstance(self.name, str) or not self.name:
            raise RecordError(f"category {self.id!r} has the name {self.name!r}; give a text that is not empty")
        if not isinstance(self.supercategory, str | None):
            raise RecordError(
                f"category {self.id!r} has the supercategory {self.supercategory!r}; give a text, or None"
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
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
        RecordError, TypeError: it is not a list of categories, each with an id of its own.

    """
    found = tuple(map(Category.from_json, values))
    check_label_map(found)
    return found


def check_label_map(label_map: LabelMap) -> None:
    """Refuse a label map in which an id is used twice.

    Raises:
        RecordError: names it.

    """
    counts = Counter(category.id for category in label_map)
    if twice := [one for one, count in counts.items() if count > 1]:
        raise RecordError(f"two categories have the id {twice[0]!r}; give each its own")
