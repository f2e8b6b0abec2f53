"""Stages of CPUs and devices that items go through, in order. Owns who computes when; knows nothing of records."""
