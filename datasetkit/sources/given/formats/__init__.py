"""One reader per format. Each only parses; facts about a format and its source are in the docstring of its module."""
