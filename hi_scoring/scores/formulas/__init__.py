"""Formulas of head scores from attention and masks, on tensors. Owns each formula once."""
