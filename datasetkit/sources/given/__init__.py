"""Data sets in the formats that people have: each with a reader, all with the same way from its entries to records."""
