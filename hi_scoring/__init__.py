"""From a published dataset to scored, tested and tuned attention heads."""
