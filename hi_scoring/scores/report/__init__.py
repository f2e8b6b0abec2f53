"""Results for readers: tables in the terminal and a page to look at. Owns how scores are shown."""
