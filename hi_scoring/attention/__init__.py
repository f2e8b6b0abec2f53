"""Read and edit the attention of language models while it is computed. Owns what is attached to a model and detached.

Axes, here and in all modules: B samples of a batch, H query heads, G key-value heads (each serves H / G query heads), Q
queries and K keys of one call, D width of a head, R chosen query rows. Layers, heads and slots count from 0; a slot is
the index of a token in the padded sequence, prompt and generated tokens alike, counted from the left.
"""

from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.instrument import instrumented
from datasetkit.hi_scoring.attention.parts import Editor, Reader
from datasetkit.hi_scoring.attention.positions import PositionReader

__all__ = ["AttentionCall", "Editor", "PositionReader", "Reader", "instrumented"]
