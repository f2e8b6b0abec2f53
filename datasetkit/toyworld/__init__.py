"""Rendered scenes of coloured shapes with exact ground truth: masks, descriptions, questions, all from one seed."""
