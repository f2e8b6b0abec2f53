"""Statistics of a dataset. Owns what is counted of rows, and how it is published and drawn."""
