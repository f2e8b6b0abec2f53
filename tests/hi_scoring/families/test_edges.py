"""Bars at the edges of tokens, at published sizes: claimed pixels change their token, other pixels change none.

Images have sizes that processors only resample by whole factors, so no tolerance is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasetkit.hi_scoring.geometry import ImageTokens, Tower
from tests.hi_scoring.families.published import (
    CHECKPOINTS,
    GRANITE,
    INTERLEAVE,
    INTERNVL,
    LLAVA,
    LLAVA_NEXT,
    LLAVA_THAT_PADS,
    ONEVISION,
    PALIGEMMA,
    SMOLVLM,
    Published,
)
from tests.hi_scoring.families.sight import (
    changed_from,
    geometry,
    image_embeddings,
    in_columns,
    in_reading_order,
    without_newlines,
)
from tests.hi_scoring.tiny_models import family_params

pytestmark = pytest.mark.slow


def params(*checkpoints: Published) -> list[Any]:
    return [
        pytest.param(one, marks=family_params(one.family)[0].marks, id=f"{one.name.rpartition('/')[2]}-{one.size_hw}")
        for one in checkpoints
    ]


def bars(spans: NDArray[np.int64], length: int, unit: int, seed: int) -> dict[str, list[tuple[int, int]]]:
    """Return the bars to paint along one axis by name, as [start, stop) in px.

    Args:
        spans: the claimed span of each row or column of tokens, shape (count, 2).
        length: length of the image.
        unit: px of the image that the tower sees as one.
        seed: seed of a choice of whole tokens.

    """
    found = {}
    for which, chosen in (("even", spans[::2]), ("odd", spans[1::2])):
        found[f"first px of {which} tokens"] = [(start, min(start + unit, stop)) for start, stop in chosen]
        found[f"last px of {which} tokens"] = [(max(stop - unit, start), stop) for start, stop in chosen]
    found["some tokens"] = list(spans[np.random.default_rng(seed).random(len(spans)) < 0.3])
    gaps = zip([0, *spans[:, 1]], [*spans[:, 0], length], strict=True)
    found["what no token shows"] = [(start, stop) for start, stop in gaps if start < stop]
    return found


def faults(checkpoint: Published, mistake: Callable[[ImageTokens], ImageTokens] = lambda found: found) -> list[str]:
    """Return the bars that change tokens other than those whose claimed pixels they cover."""
    family, wrong = checkpoint.tiny(), []
    (height, width), plain = checkpoint.size_hw, image_embeddings(family, np.zeros(checkpoint.size_hw, bool))
    found = mistake(geometry(family, checkpoint.size_hw))
    shown = np.concatenate([view.tokens.ravel() for view in found.views])
    for view in found.views:
        if (unit := checkpoint.reduced if view.name == "global" else (1, 1)) is None:
            continue
        # The patches, if tokens are mixtures of them.
        grid = getattr(view, "patches", view)
        rows, columns = grid.top_bottom.clip(0, height), grid.left_right.clip(0, width)
        if (rows % unit[0]).any() or (columns % unit[1]).any():
            wrong.append(f"{view.name}: edges within pixels")
            continue
        down, across = bars(rows.astype(int), height, unit[0], 0), bars(columns.astype(int), width, unit[1], 1)
        for name in down:
            mask = np.zeros((height, width), bool)
            for start, stop in down[name]:
                mask[start:stop] = True
            for start, stop in across[name]:
                mask[:, start:stop] = True
            changed = changed_from(plain, family, mask)
            expected = view.coverage(mask[None])[0] > 1e-6
            if (changed[view.tokens] != expected).any() or np.delete(changed, shown).any():
                wrong.append(f"{view.name}: {name}")
    return wrong


@pytest.mark.parametrize("checkpoint", params(*CHECKPOINTS))
def test_bars_change_the_tokens_that_claim_them(checkpoint: Published):
    assert faults(checkpoint) == []


def spread_over_all(found: ImageTokens) -> ImageTokens:
    """The mistake of ignoring crops, padding, and the remainders of tiles."""
    views = [
        Tower(view.tokens.shape, 1, view.tokens.shape).squash(view.name, view.tokens, found.size_hw)
        for view in found.views
    ]
    return replace(found, views=tuple(views))


def a_pixel_further(found: ImageTokens) -> ImageTokens:
    return replace(found, views=tuple(replace(view, left_right=view.left_right + 1) for view in found.views))


def whole_image_first(found: ImageTokens) -> ImageTokens:
    """The mistake of taking the last tile for the first."""
    by = found.views[0].tokens.size
    views = tuple(replace(view, tokens=(view.tokens + by) % found.count) for view in found.views)
    return replace(found, views=views)


MISTAKES = [
    (spread_over_all, (LLAVA, LLAVA_THAT_PADS, INTERLEAVE, SMOLVLM, GRANITE, ONEVISION)),
    (a_pixel_further, (LLAVA,)),
    (in_columns, (LLAVA, PALIGEMMA)),
    (in_reading_order, (SMOLVLM, INTERNVL)),
    (whole_image_first, (SMOLVLM, INTERNVL)),
    (without_newlines, (LLAVA_NEXT, ONEVISION)),
]


@pytest.mark.parametrize(
    ("checkpoint", "mistake"),
    [
        pytest.param(*one.values, mistake, marks=one.marks, id=f"{one.id}-{mistake.__name__}")
        for mistake, checkpoints in MISTAKES
        for one in params(*checkpoints)
    ],
)
def test_mistakes_are_noticed(checkpoint: Published, mistake: Callable[[ImageTokens], ImageTokens]):
    assert faults(checkpoint, mistake)


@pytest.mark.parametrize(
    ("bar", "columns"),
    [
        ((294, 297), [7]),
        ((336, 337), [8]),
        ((372, 377), [8]),
        # 27 patches of 14 px show 378 of 384 px.
        ((378, 383), []),
        ((379, 383), []),
        ((384, 384), [9]),
        ((762, 767), []),
    ],
    ids=str,
)
def test_columns_of_smolvlm_that_a_bar_changes(bar: tuple[int, int], columns: list[int]):
    family, mask = SMOLVLM.tiny(), np.zeros(SMOLVLM.size_hw, bool)
    mask[:, bar[0] : bar[1] + 1] = True
    tiles = geometry(family, SMOLVLM.size_hw).views[1]
    changed = changed_from(image_embeddings(family, np.zeros_like(mask)), family, mask)
    for claimed in (tiles.coverage(mask[None])[0] > 0, changed[tiles.tokens]):
        assert np.flatnonzero(claimed.any(axis=0)).tolist() == columns
