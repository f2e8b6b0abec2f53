"""Rows of datasets: as samples for head scores, and as prompts with their expected responses."""
