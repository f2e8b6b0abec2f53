"""The captioner ``image-text-to-text``: any chat model of that kind in transformers describes the image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from datasetkit.core.detections import Caption
from datasetkit.core.errors import ModelError
from datasetkit.options.models import ImageTextToTextOptions
from datasetkit.runtime.loading import checkpoint_identity, load_model, load_processor


class ImageTextToTextCaptioner:
    """Describes images with a multimodal chat model.

    With temperature 0, images are described as one batch. Above 0, tokens are sampled from the softmax of the logits
    divided by it; other sampling options come from the checkpoint's generation config. Images are then described one by
    one, each with torch's generator seeded from ``seed`` and from its pixels: in a batch all images would sample from
    one stream, and a description would depend on which other images were in the batch. The generator is restored
    afterwards.

    Raises:
        ModelError: the model cannot be loaded, is of another kind, or has no chat template.

    """

    def __init__(self, options: ImageTextToTextOptions, *, device: str = "cpu", dtype: str = "float32") -> None:
        model, revision, temperature = options.model, options.revision, options.temperature
        self._processor = load_processor(AutoProcessor, model, revision)
        if not getattr(self._processor, "chat_template", None):
            raise ModelError(f"{model} has no chat template; use an image-text-to-text model that was tuned for chat")
        self._tokenizer = self._processor.tokenizer
        self._model = load_model(AutoModelForImageTextToText, model, revision, device=device, dtype=dtype)
        self.identities = (checkpoint_identity("captioner", model, revision),)
        self._end_ids = _end_ids(self._model, self._tokenizer)
        if not self._end_ids:
            raise ModelError(f"{model} has no token that ends an answer; set eos_token_id in generation_config.json")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.convert_ids_to_tokens(self._end_ids[0])
        # New tokens follow the last one, so padding of short prompts has to come before them.
        self._tokenizer.padding_side = "left"
        self._prompt = options.prompt
        self._max_side_px = options.max_side_px
        if options.max_side_px is not None:
            _limit_side(self._processor.image_processor, options.max_side_px)
        self._seed = options.seed
        self._generation = {
            "max_new_tokens": options.max_new_tokens,
            "num_beams": 1,
            "eos_token_id": self._end_ids,
            "pad_token_id": self._tokenizer.pad_token_id,
            **({"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}),
        }

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        """Describe each image; see :class:`datasetkit.core.protocols.Captioner`."""
        if not images:
            return []
        if not self._generation["do_sample"]:
            return self._describe(images)
        captions = []
        cuda = [self._model.device] if self._model.device.type == "cuda" else []
        for image in images:
            with torch.random.fork_rng(cuda):
                digest = hashlib.sha256(f"{self._seed} {image.size}".encode() + image.tobytes()).digest()
                torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # depends on the image only, range [0, 2**63)
                captions += self._describe([image])
        return captions

    @torch.inference_mode()
    def _describe(self, images: Sequence[Image.Image]) -> list[Caption]:
        images = [_reduced(image, self._max_side_px) for image in images]
        turns = [
            [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": self._prompt}]}]
            for image in images
        ]
        inputs = self._processor.apply_chat_template(
            turns,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, self._model.dtype)
        written = self._model.generate(**inputs, **self._generation)[:, inputs["input_ids"].shape[1] :]
        is_ended = torch.isin(written, torch.tensor(self._end_ids, device=written.device)).any(dim=1)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [
            Caption(" ".join(text.split()), not ended) for text, ended in zip(texts, is_ended.tolist(), strict=True)
        ]


def _reduced(image: Image.Image, max_side_px: int | None) -> Image.Image:
    """Scale an image down so that no side is longer; ``None`` leaves it."""
    if max_side_px is None or max(image.size) <= max_side_px:
        return image
    share = max_side_px / max(image.size)
    width, height = (max(round(side * share), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _limit_side(image_processor: Any, max_side_px: int) -> None:
    """Keep a processor from enlarging images beyond a side.

    The processors of Idefics 3 and SmolVLM bring every image to a longest edge of their own, and cut it into tiles: an
    image of 300 px becomes 2,048 px and 17 tiles. Their size has this edge alone. Sizes that name another edge, too,
    are left: they are counts of pixels, as with Qwen-VL, or the size that the model needs.
    """
    size = image_processor.size
    edges = {name: side for name, side in dict(size).items() if side is not None}
    if edges.keys() == {"longest_edge"} and edges["longest_edge"] > max_side_px:
        image_processor.size = type(size)(longest_edge=max_side_px)


def _end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids of the tokens that end an answer: those of the generation config, and the tokenizer's."""
    given = model.generation_config.eos_token_id
    ids = [given] if isinstance(given, int) else list(given or ())
    own = tokenizer.eos_token_id
    return ids if own is None or own in ids else [*ids, own]
