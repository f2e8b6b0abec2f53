"""Models that find the phrases of a query in an image."""
