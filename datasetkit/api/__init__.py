"""The public functions of the package, which the command line calls, and helpers for training."""
