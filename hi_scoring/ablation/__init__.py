"""Heads taken out of a model, and what that does to what it says. Owns conditions, their folder, and the tables.

A condition is a set of heads and what is put in place of their outputs. Heads of high scores are set against those of
low scores and against as many drawn at random in the same layers.
"""
