"""Forms of English words: verb bases and plurals of nouns. Owns spelling rules; word lists come from ``words``."""

from __future__ import annotations

from collections.abc import Iterator

from datasetkit.annotation.phrases.words import Words


def verb_bases(word: str) -> Iterator[str]:
    """Yield the possible base forms of a verb in the third person singular ("tries": "try", "tri", "trie")."""
    if word.endswith("ies"):
        yield word[:-3] + "y"
    if word.endswith("es"):
        yield word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]


def is_plural(word: str, words: Words) -> bool:
    """Return whether a noun is plural by its form; a word with one form for both numbers only if it is listed."""
    if word in words.irregular_plurals:
        return True
    last = word.replace(".", "").split("-")[-1]
    if last in words.irregular_plurals:
        return True
    return (
        len(last) > 2 and last.endswith("s") and not last.endswith(("ss", "us", "is")) and last not in words.singular_s
    )


def singular(text: str) -> str:
    """Return a noun, or a compound by its last word, without its plural "s"; for look-ups in lists of singulars."""
    if text.endswith("ies") and len(text) > 4:
        return text[:-3] + "y"
    if text.endswith(("sses", "xes", "ches", "shes")):
        return text[:-2]
    return text[:-1] if text.endswith("s") and not text.endswith(("ss", "us", "is")) else text
