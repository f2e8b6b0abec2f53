"""Noun phrases of a description: their spans, their head nouns, and how many things they name."""

from datasetkit.annotation.phrases.finder import NounPhraseFinder

__all__ = ["NounPhraseFinder"]
