"""Evaluation of a model's responses to images: captions, answers, key objects, and the shifts of these metrics."""
