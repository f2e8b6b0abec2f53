"""A model as it is asked: loaded by its name, given pictures and text, and made to write."""
