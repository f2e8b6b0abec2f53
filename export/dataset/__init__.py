"""Contents of a built folder: shards, their rows, and the manifest. Owns their form, wherever the folder is."""
