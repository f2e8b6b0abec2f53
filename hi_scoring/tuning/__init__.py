"""Tuning of chosen layers or heads: adapters of PEFT, so that what they change is what was chosen and nothing else."""
