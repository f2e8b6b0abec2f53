"""The steps of a record from a recipe to a finished build."""
