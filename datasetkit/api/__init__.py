"""Public helpers that need more than the ground floor, such as torch."""
