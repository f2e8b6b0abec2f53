"""Noun phrases of a description: where they stand, what they are about, how many they speak of."""

from datasetkit.annotation.phrases.finder import NounPhraseFinder

__all__ = ["NounPhraseFinder"]
