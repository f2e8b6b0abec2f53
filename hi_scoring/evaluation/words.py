"""Texts as words, the way captions are compared. Owns what counts as a word.

COCO's captions are compared after the Penn Treebank tokenizer, which is a Java program, and without punctuation. The
rule here is ours and comes close to it; the same rule cuts what the model says and what it is held against.
"""

from __future__ import annotations

import re
import unicodedata

_JOINERS = ".,:-"
_PART = rf"[^\W_][^ {_JOINERS}]*"
_WORD = re.compile(rf"{_PART}(?:(?:-|(?<=\d)[.,:](?=\d)){_PART})*")


def words(text: str) -> list[str]:
    """Cut a text into lower-case words.

    A word is a run of letters, digits and the marks that belong to them, in any script. A hyphen inside ("snow-white")
    and a full stop, comma or colon between digits ("3.5", "10:30") stay. An apostrophe divides: "cat's" is "cat" and
    "s", as many words as in the Penn Treebank. Everything else, symbols too, divides and is dropped. Accents count the
    same however they are encoded (NFC).
    """
    lowered = unicodedata.normalize("NFC", text.lower())
    kept = (char if char in _JOINERS or unicodedata.category(char)[0] in "LMN" else " " for char in lowered)
    return _WORD.findall("".join(kept))
