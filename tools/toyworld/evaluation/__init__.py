"""Evaluation of trained models on scenes that were fixed before training; yields the metrics of the model cards."""
