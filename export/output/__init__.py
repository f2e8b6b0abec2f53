"""OUT while a build works on it: a folder or a prefix in an object store. Owns parts, journal, locks and exchange."""
