"""What counts as a word."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datasetkit.hi_scoring.evaluation.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("... -- ?!", []),
        ("A dog, a Cat; and (a) bird.", ["a", "dog", "a", "cat", "and", "a", "bird"]),
        ("the cat's tail isn\u2019t", ["the", "cat", "s", "tail", "isn", "t"]),
        ("a black-and-white dog--here - now", ["a", "black-and-white", "dog", "here", "now"]),
        ("-wet, dry-", ["wet", "dry"]),
        ("At 10:30 1,000 men ran 3.5 km.Then 7.", ["at", "10:30", "1,000", "men", "ran", "3.5", "km", "then", "7"]),
        ("red_car & 'blue' \"sky\" 5%", ["red", "car", "blue", "sky", "5"]),
        ("Ein Café\nEIN CAFE\u0301", ["ein", "café", "ein", "café"]),
        ("एक हिन्दी शब्द।", ["एक", "हिन्दी", "शब्द"]),
        ("I ❤\ufe0f cats 😺", ["i", "cats"]),
        ("İstanbul \ud800", ["i̇stanbul"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(st.characters()) | st.text("aÀΣİß1.,:-'_ \u0301\u094d\u200d", max_size=12))
@example("ΑΣ.\u0301x 1.\u03011")
def test_splitting_words_again_changes_nothing(text: str) -> None:
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(word and not any(char.isspace() for char in word) for word in found)
