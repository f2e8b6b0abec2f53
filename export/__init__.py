"""From records to a published dataset: shards, manifest, statistics, card, verification, preview."""
