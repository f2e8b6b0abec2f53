"""Ways of tuning one model, set against each other. Owns cells, their folder, and what the table says of them.

A cell is one selection of layers or heads tuned with one seed; the model as it was is a cell of its own.
"""
