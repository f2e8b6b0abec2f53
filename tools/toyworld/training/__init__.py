"""Trains the tiny models from rendered scenes, on a CPU or a GPU, so that anyone can make the shipped weights again."""
