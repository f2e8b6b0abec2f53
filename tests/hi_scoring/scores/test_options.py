"""Options of head scores."""

import pytest
from pydantic import ValidationError

from datasetkit.options.heads import BINARISATIONS, ScoreOptions


def test_defaults_are_those_of_the_methods() -> None:
    assert ScoreOptions().model_dump() == {
        "positions": ("response", "phrase", "last"),
        "convention": "predicting",
        "binarisation": "top_area",
        "quantile": 0.9,
        "coverage_min": 0.5,
        "evidence": "binary",
        "prompt": "Describe the picture.",
        "max_new_tokens": 64,
    }
    assert BINARISATIONS == ("top_area", "mean", "quantile", "otsu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"positions": ()},
        {"positions": ("last", "last")},
        {"positions": ("first",)},
        {"convention": "after"},
        {"binarisation": "median"},
        {"quantile": 1.0},
        {"quantile": 0.0},
        {"coverage_min": 0.0},
        {"coverage_min": 1.1},
        {"evidence": "soft"},
        {"prompt": ""},
        {"max_new_tokens": 0},
        {"binarization": "mean"},
    ],
    ids=str,
)
def test_out_of_range_or_unknown_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ScoreOptions.model_validate(wrong)


def test_options_survive_json() -> None:
    options = ScoreOptions(positions=("generated",), binarisation="otsu")
    assert ScoreOptions.model_validate_json(options.model_dump_json()) == options
