"""Comparisons for readers: tables in the terminal, a table for a paper, a page. Owns how shifts are shown."""
