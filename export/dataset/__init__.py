"""What lies in a built folder: parts, shards, manifest, statistics, card, preview, and their verification."""
