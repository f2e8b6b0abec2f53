"""The dataset card: README.md of a built folder and of its repository. Owns what people and the Hub read first."""
