"""Reports of a comparison: terminal tables, a table for a paper, a page. Owns how shifts are shown."""
