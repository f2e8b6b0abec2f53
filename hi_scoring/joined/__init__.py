"""Joint report on one model: which claims of the papers hold for it. Owns the verdicts and their page."""
