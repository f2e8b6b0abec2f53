"""Training and evaluation of toyworld's models, and their model cards."""
