"""The preview page: records to look at. Owns which records it has, and what it shows of them."""
