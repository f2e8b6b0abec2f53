"""Judges trained models on scenes that were fixed before they were trained; writes what the model cards say."""
