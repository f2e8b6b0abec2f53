"""Folders with the results of one command, part by part, and the rows it dropped."""
