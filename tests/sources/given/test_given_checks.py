"""What readers pass on is checked: values of another type make their entry unusable."""

from __future__ import annotations

from typing import Any

import pytest

from datasetkit.core.given import GivenImage, GivenObject, GivenText


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (GivenImage, {"id": "1", "names": (7,)}),
        (GivenImage, {"id": "1", "names": ("",)}),
        (GivenImage, {"id": 1}),
        (GivenImage, {"id": "1", "license": 4}),
        (GivenText, {"text": None}),
        (GivenObject, {"key": "0", "category": 3}),
    ],
)
def test_value_of_another_type(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        kind(**values)
