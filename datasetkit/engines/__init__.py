"""How the work of a build is spread: one module an engine."""
