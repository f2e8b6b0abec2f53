"""Interventions: what a model says when part of its attention is taken away. Owns what is taken, and what it costs."""
