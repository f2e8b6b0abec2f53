"""What image tokens really show: vision towers whose patches see only themselves, and tokens relative to boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.geometry import ImageTokens
from tests.hi_scoring.tiny_parts import TinyFamily


def geometry(family: TinyFamily, size_hw: tuple[int, int]) -> ImageTokens:
    config = family.model.config
    return family_of(config).image_tokens(family.processor, config, size_hw)


def batch(family: TinyFamily, images: Sequence[Image.Image], responses: Sequence[str] | None = None) -> Any:
    adapter = family_of(family.model.config)
    prompt = adapter.prompt(family.processor, "Describe the image.")
    return adapter.inputs(family.processor, images, [prompt] * len(images), responses)


def image_slots(family: TinyFamily, ids: torch.Tensor) -> torch.Tensor:
    return ids == family.model.config.image_token_id


def changed_from(plain: torch.Tensor, family: TinyFamily, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which image tokens change if a plain image becomes white inside the mask (H, W), shape (M,)."""
    return ((image_embeddings(family, mask) - plain).abs().amax(-1) > 1e-4 * plain.abs().amax()).numpy()


def image_embeddings(family: TinyFamily, white: NDArray[np.bool_]) -> torch.Tensor:
    """The language model's inputs for a grey image with white parts, shape (M, width).

    Each patch sees only itself.
    """
    image = Image.fromarray(np.where(white[..., None], 255, np.full(3, 128)).astype(np.uint8))
    inputs, caught = batch(family, [image]), []

    def catch(_module: Any, _args: Any, kwargs: Any) -> None:
        caught.append(kwargs["inputs_embeds"])
        raise StopIteration

    hook = family.model.get_decoder().register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with torch.no_grad(), _short_sighted(family.model), suppress(StopIteration):
            family.model(**inputs)
    finally:
        hook.remove()
    return caught[0][image_slots(family, inputs["input_ids"])]


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
    """The mistake of taking the tokens of tiles for rows of one large image."""
    *others, tiles = found.views
    tokens = np.sort(tiles.tokens.ravel()).reshape(tiles.tokens.shape)
    return replace(found, views=(*others, replace(tiles, tokens=tokens)))


def without_newlines(found: ImageTokens) -> ImageTokens:
    """The mistake of passing over the token after each row."""
    base, tiles = found.views
    tokens = base.tokens.size + np.arange(tiles.tokens.size).reshape(tiles.tokens.shape)
    return replace(found, views=(base, replace(tiles, tokens=tokens)))
