"""Rendered scenes of coloured shapes with exact truth: masks, descriptions, questions, all from one seed."""
