"""Scores of every head: their formulas, how they are computed for a dataset, and how they are kept and shown."""
