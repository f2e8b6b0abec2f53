"""Folders that hold what one command computed, part by part, and what it left out."""
