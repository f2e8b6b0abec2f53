"""Training and evaluation of toyworld's models, and the cards that say how they were made."""
