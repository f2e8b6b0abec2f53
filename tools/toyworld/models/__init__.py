"""The tiny models: configurations of real architectures and their processors, created without a download."""
