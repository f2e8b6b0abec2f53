"""Comparison of tuning configurations of one model. Owns cells, their folder, and the tables about them.

A cell is one selection of layers or heads tuned with one seed; the untuned model is a separate cell.
"""
