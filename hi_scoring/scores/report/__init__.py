"""Reports of head scores: terminal tables and a page. Owns how scores are shown."""
