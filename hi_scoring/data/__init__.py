"""Rows of datasets: as what heads are scored on, and as what a model is asked and ought to say."""
