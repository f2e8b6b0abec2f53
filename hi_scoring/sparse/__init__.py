"""Sparse prefill: a few heads keep full attention, the others see text, first tokens and a window. Owns its plans.

A prompt is computed in one pass (the prefill), in which most heads need not see most image tokens. Tokens that are
generated after it see all earlier tokens, in every head. Axes as in :mod:`datasetkit.hi_scoring.attention`: B rows of a
batch, N tokens of a prompt without its padding, H query heads, G key-value heads, D width of a head; layers, heads and
slots count from 0.

    with sparsify(model, SparsePlan.load("plan.json")):
        model.generate(**inputs)
"""

from datasetkit.hi_scoring.sparse.attention import Sparsified, sparsify
from datasetkit.hi_scoring.sparse.coverage import Coverage
from datasetkit.hi_scoring.sparse.plan import SparsePlan

__all__ = ["Coverage", "SparsePlan", "Sparsified", "sparsify"]
