"""Slow and obvious versions of the formulas: loops, lists, and enumeration of every choice among ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

Grid = np.ndarray


def object_cells(coverage: Grid, coverage_min: float) -> set[int]:
    """Tokens of the object, counted in reading order."""
    flat = coverage.ravel().tolist()
    enough = {cell for cell, share in enumerate(flat) if share >= coverage_min}
    if not enough and max(flat) > 0:
        return {flat.index(max(flat))}
    return enough


def taken_count(values: Sequence[float], mask_size: int, binarisation: str, quantile: float) -> int:
    tokens = len(values)
    if binarisation == "top_area":
        return mask_size
    if binarisation == "quantile":
        return tokens - math.floor(round(quantile * tokens, 6))
    if binarisation == "mean":
        return sum(value > math.fsum(values) / tokens for value in values)
    best_variance, best_count = -1.0, 0
    for threshold in sorted(set(values), reverse=True)[1:]:  # values above it are taken; of equals, the highest wins
        above = [value for value in values if value > threshold]
        below = [value for value in values if value <= threshold]
        gap = math.fsum(above) / len(above) - math.fsum(below) / len(below)
        variance = len(above) * len(below) * gap * gap
        if variance > best_variance * (1 + 1e-12):
            best_variance, best_count = variance, len(above)
    return best_count


def iou(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second)


def expected_iou(values: Sequence[float], mask: set[int], count: int) -> float:
    """Mean over every set of `count` tokens in which no token outside is more attended than one inside."""
    if count == 0:
        return 0.0
    cut = sorted(values, reverse=True)[count - 1]
    above = {cell for cell, value in enumerate(values) if value > cut}
    tied = [cell for cell, value in enumerate(values) if value == cut]
    choices = [iou(above | set(choice), mask) for choice in combinations(tied, count - len(above))]
    return math.fsum(choices) / len(choices)


def chance_iou(tokens: int, mask_size: int, count: int) -> float:
    """The hypergeometric distribution in whole numbers."""
    total = 0.0
    for hits in range(min(mask_size, count) + 1):
        ways = math.comb(mask_size, hits) * math.comb(tokens - mask_size, count - hits)
        total += ways / math.comb(tokens, count) * hits / (mask_size + count - hits)
    return total


def soft(attention: Grid, coverage: Grid) -> float:
    attention, coverage = attention.ravel() / attention.sum(), coverage.ravel() / coverage.sum()
    pairs = list(zip(attention.tolist(), coverage.tolist(), strict=True))
    return math.fsum(min(pair) for pair in pairs) / math.fsum(max(pair) for pair in pairs)


def soft_chance(attention: Grid, coverage: Grid) -> float:
    rows, columns = coverage.shape
    shifted = [np.roll(coverage, (down, right), (0, 1)) for down in range(rows) for right in range(columns)]
    return math.fsum(soft(attention, mask) for mask in shifted) / len(shifted)


def entropy(attention: Grid) -> float:
    """Flood fill by hand."""
    above = np.maximum(attention - attention.mean(), 0)
    left = {(int(r), int(c)) for r, c in np.argwhere(above > 0.05 * above.max())}
    masses = []
    while left:
        front, mass = [left.pop()], 0.0
        while front:
            row, column = front.pop()
            mass += float(above[row, column])
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            front += near
        masses.append(mass)
    return -sum(mass / sum(masses) * math.log(mass / sum(masses)) for mass in masses) if masses else math.nan
