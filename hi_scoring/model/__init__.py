"""Models in use: loaded by name, prompted with images and text, and run to generate text."""
