"""The tiny models: configurations of real architectures and their processors, made without any download."""
