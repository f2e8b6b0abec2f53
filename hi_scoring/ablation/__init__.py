"""Head ablation: what removing heads changes in a model's answers. Owns conditions, their folder, and the tables.

A condition is a set of heads and the replacement of their outputs. The heads with the highest scores are compared with
those with the lowest scores and with as many heads drawn at random in the same layers.
"""
