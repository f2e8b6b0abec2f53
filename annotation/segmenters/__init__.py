"""Models that segment what is in a box."""
