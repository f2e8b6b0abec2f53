"""What image tokens really show: towers of vision whose patches see only themselves, and how tokens lie to boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.geometry import ImageTokens, View
from tests.hi_scoring.tiny_parts import TinyFamily

Box = tuple[int, int, int, int]


def geometry(family: TinyFamily, size_hw: tuple[int, int]) -> ImageTokens:
    config = family.model.config
    return family_of(config).image_tokens(family.processor, config, size_hw)


def batch(family: TinyFamily, images: Sequence[Image.Image], responses: Sequence[str] | None = None) -> Any:
    adapter = family_of(family.model.config)
    prompt = adapter.prompt(family.processor, "Describe the image.")
    return adapter.inputs(family.processor, images, [prompt] * len(images), responses)


def image_slots(family: TinyFamily, ids: torch.Tensor) -> torch.Tensor:
    return ids == family.model.config.image_token_id


def changed_tokens(family: TinyFamily, size_hw: tuple[int, int], box: Box) -> NDArray[np.bool_]:
    """Which image tokens differ once a grey picture has a white box (x0, y0, x1, y1), shape (M,)."""
    grey = np.full((*size_hw, 3), 128, np.uint8)
    marked = grey.copy()
    marked[box[1] : box[3], box[0] : box[2]] = 255
    inputs = batch(family, [Image.fromarray(grey), Image.fromarray(marked)])
    plain, with_box = _embeddings(family, inputs)[image_slots(family, inputs["input_ids"])].chunk(2)
    return ((with_box - plain).abs().amax(-1) > 1e-4 * plain.abs().amax()).numpy()


def _embeddings(family: TinyFamily, inputs: Any) -> torch.Tensor:
    """What the language model reads when each patch of the picture sees itself alone, shape (B, N, width)."""
    caught: list[torch.Tensor] = []
    hook = family.model.get_decoder().register_forward_pre_hook(
        lambda _module, _args, kwargs: caught.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        with torch.no_grad(), _short_sighted(family.model):
            family.model(**inputs)
    finally:
        hook.remove()
    return caught[0]


@contextmanager
def _short_sighted(model: Any) -> Iterator[None]:
    def silence(_module: Any, _args: Any, output: Any) -> Any:
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    text = {id(module) for module in model.get_decoder().modules()}
    hooks = [
        module.register_forward_hook(silence)
        for module in model.modules()
        if type(module).__name__.endswith("Attention") and id(module) not in text
    ]
    assert hooks
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def tokens_apart(view: View, box: Box) -> NDArray[np.float64]:
    """How many tokens' lengths lie between each token and a box, 0 where they touch, shape (rows, columns)."""

    def apart(spans: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
        gaps = np.maximum(start - spans[:, 1], spans[:, 0] - stop) / (spans[:, 1] - spans[:, 0])
        return np.maximum(gaps, 0.0)

    rows, columns = apart(view.top_bottom, box[1], box[3]), apart(view.left_right, box[0], box[2])
    return np.maximum(rows[:, None], columns[None])


def box_mask(size_hw: tuple[int, int], box: Box) -> NDArray[np.bool_]:
    mask = np.zeros((1, *size_hw), bool)
    mask[0, box[1] : box[3], box[0] : box[2]] = True
    return mask


def ellipse(size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """An off-centre object, shape (1, H, W)."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    return ((y / height - 0.4) ** 2 / 0.09 + (x / width - 0.6) ** 2 / 0.06 < 1)[None]


def in_columns(found: ImageTokens) -> ImageTokens:
    """The mistake of taking columns for rows."""
    *others, last = found.views
    rows, columns = last.tokens.shape
    return replace(found, views=(*others, replace(last, tokens=last.tokens.reshape(columns, rows).T)))


def in_reading_order(found: ImageTokens) -> ImageTokens:
    """The mistake of taking the tokens of tiles for rows of one large picture."""
    *others, tiles = found.views
    tokens = np.sort(tiles.tokens.ravel()).reshape(tiles.tokens.shape)
    return replace(found, views=(*others, replace(tiles, tokens=tokens)))


def without_newlines(found: ImageTokens) -> ImageTokens:
    """The mistake of passing over the token after each row."""
    base, tiles = found.views
    tokens = base.tokens.size + np.arange(tiles.tokens.size).reshape(tiles.tokens.shape)
    return replace(found, views=(base, replace(tiles, tokens=tokens)))
