"""Results of one model joined: which claims of the papers hold for it. Owns the verdicts and the page about them."""
