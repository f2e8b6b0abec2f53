"""Attention of language models, read and edited while it is computed. Owns what is put on a model and taken off again."""
