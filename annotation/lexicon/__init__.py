"""Which words name which categories: a data file and the class that reads it."""

from datasetkit.annotation.lexicon.lexicon import (
    CategoryName,
    Lexicon,
    category_sense,
    category_words,
    coco_lexicon,
    normalise,
    singular_forms,
)

__all__ = ["CategoryName", "Lexicon", "category_sense", "category_words", "coco_lexicon", "normalise", "singular_forms"]
