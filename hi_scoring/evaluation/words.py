"""Split texts into words for the comparison of captions. Owns what counts as a word.

COCO's captions are compared after the Penn Treebank tokenizer, which is a Java program, and without punctuation. Our
rule comes close to it; the same rule splits the model's texts and the references.
"""

from __future__ import annotations

import re
import unicodedata

_JOINERS = ".,:-"
_PART = rf"[^\W_][^ {_JOINERS}]*"
_WORD = re.compile(rf"{_PART}(?:(?:-|(?<=\d)[.,:](?=\d)){_PART})*")


def words(text: str) -> list[str]:
    """Split a text into lower-case words.

    A word is a run of letters, digits and the marks that belong to them, in any script. A hyphen inside ("snow-white")
    and a full stop, comma or colon between digits ("3.5", "10:30") are kept. An apostrophe splits: "cat's" is "cat" and
    "s", as many words as in the Penn Treebank. Everything else, including symbols, splits and is dropped. Accents
    compare equal however they are encoded (NFC).
    """
    lowered = unicodedata.normalize("NFC", text.lower())
    kept = (char if char in _JOINERS or unicodedata.category(char)[0] in "LMN" else " " for char in lowered)
    return _WORD.findall("".join(kept))
