"""What runs where: devices, batches, threads, checkpoints, registries. Knows nothing of records."""
