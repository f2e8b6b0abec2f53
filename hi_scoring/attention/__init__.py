"""Attention of language models, read and edited while it is computed. Owns what is put on a model and taken off again.

Axes, here and in all modules: B samples of a batch, H query heads, G key-value heads (each serves H / G query heads),
Q queries and K keys of one call, D width of a head, R chosen query rows. Layers, heads and slots count from 0; a slot
is a token's place in the padded sequence, prompt and generated tokens alike, from the left end of the batch's rows.
"""

from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.instrument import instrumented
from datasetkit.hi_scoring.attention.parts import Editor, Reader
from datasetkit.hi_scoring.attention.positions import PositionReader

__all__ = ["AttentionCall", "Editor", "PositionReader", "Reader", "instrumented"]
