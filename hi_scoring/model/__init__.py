"""A model as it is asked: loaded by its name, given images and text, and made to write."""
