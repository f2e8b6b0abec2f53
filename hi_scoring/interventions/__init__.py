"""Interventions: a model's answers with part of its attention blocked. Owns what is blocked, and what it costs."""
