"""Models that cut out what is in a box."""
