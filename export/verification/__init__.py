"""Verification of built and published datasets. Owns what a sound dataset is."""
