"""Training of the tiny models on rendered scenes, on a CPU or a GPU, so that the shipped weights can be reproduced."""
