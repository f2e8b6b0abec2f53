"""Tuning of chosen layers or heads with PEFT adapters that change exactly what was chosen."""
