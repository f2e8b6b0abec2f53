"""Execution: devices, batches, threads, checkpoints, registries. Knows nothing about records."""
