"""Scores of heads from their attention and the masks: formulas alone, on tensors. Owns each formula, once."""
