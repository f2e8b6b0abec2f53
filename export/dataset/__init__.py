"""Contents of a built folder: parts, shards, manifest, statistics, card, preview, and their verification."""
