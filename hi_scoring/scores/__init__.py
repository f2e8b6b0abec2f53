"""Scores of every head: their formulas, their computation on a dataset, their files and reports."""
