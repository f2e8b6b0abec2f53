"""The captioner ``image-text-to-text``: any chat model of that kind in transformers describes the image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional
from transformers import AutoModelForImageTextToText, AutoProcessor

from datasetkit.core.detections import Caption
from datasetkit.core.errors import ModelError
from datasetkit.core.protocols import Prepared
from datasetkit.options.models import ImageTextToTextOptions
from datasetkit.runtime.loading import checkpoint_identity, load_model, load_processor


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedImage:
    """An image and the prompt as the model takes them.

    Args:
        arrays: the model's arguments by name; of shape (1, T) where there is one value for each token.
        seed: of the generator, if tokens are sampled.

    """

    arrays: dict[str, NDArray[Any]]
    seed: int | None


@dataclass(frozen=True, slots=True)
class ImageTextToTextPreparer:
    """Prepares an image with the prompt by the processor of a chat model.

    Args:
        processor: of the model.
        prompt: text that follows the image.
        max_side_px: longest side of the image; None for any.
        seed: sampling seed; None if tokens are not sampled.

    """

    processor: Any
    prompt: str
    max_side_px: int | None
    seed: int | None

    def __call__(self, image: Image.Image) -> Prepared:
        """Prepare an image; see :class:`datasetkit.core.protocols.Preparer`."""
        content = [
            {"type": "image", "image": _reduced(image, self.max_side_px)},
            {"type": "text", "text": self.prompt},
        ]
        inputs = self.processor.apply_chat_template(
            [[{"role": "user", "content": content}]],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        # Texts are padded, but images are not: those of one shape go through the model together.
        tokens = arrays["input_ids"].shape
        key = tuple((name, array.shape[1:]) for name, array in arrays.items() if array.shape != tokens)
        return Prepared(key, _PreparedImage(arrays, None if self.seed is None else _seed(self.seed, image)))


class ImageTextToTextCaptioner:
    """Describes images with a multimodal chat model.

    With temperature 0, images whose pixels have one shape after preprocessing are described as one batch. Above 0,
    tokens are sampled from the softmax of the logits divided by it; other sampling options come from the checkpoint's
    generation config. Images are then described one by one, each with torch's generator seeded from ``seed`` and from
    its pixels: in a batch all images would sample from one stream, and a description would depend on which other images
    were in the batch. The generator is restored afterwards.

    Raises:
        ModelError: the model cannot be loaded, is of another kind, or has no chat template.

    """

    def __init__(self, options: ImageTextToTextOptions, *, device: str = "cpu", dtype: str = "float32") -> None:
        model, revision, temperature = options.model, options.revision, options.temperature
        processor = load_processor(AutoProcessor, model, revision)
        if not getattr(processor, "chat_template", None):
            raise ModelError(f"{model} has no chat template; use an image-text-to-text model that was tuned for chat")
        self._tokenizer = processor.tokenizer
        self._model = load_model(AutoModelForImageTextToText, model, revision, device=device, dtype=dtype)
        self.identities = (checkpoint_identity("captioner", model, revision),)
        self._end_ids = _end_ids(self._model, self._tokenizer)
        if not self._end_ids:
            raise ModelError(f"{model} has no token that ends an answer; set eos_token_id in generation_config.json")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.convert_ids_to_tokens(self._end_ids[0])
        if options.max_side_px is not None:
            _limit_side(processor.image_processor, options.max_side_px)
        seed = options.seed if temperature > 0 else None
        self.preparer = ImageTextToTextPreparer(processor, options.prompt, options.max_side_px, seed)
        self._generation = {
            "max_new_tokens": options.max_new_tokens,
            "num_beams": 1,
            "eos_token_id": self._end_ids,
            "pad_token_id": self._tokenizer.pad_token_id,
            **({"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}),
        }

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        """Describe each image; see :class:`datasetkit.core.protocols.Captioner`."""
        prepared = [self.preparer(image) for image in images]
        captions: dict[int, Caption] = {}
        for key in dict.fromkeys(item.key for item in prepared):
            rows = [row for row, item in enumerate(prepared) if item.key == key]
            captions.update(zip(rows, self.forward([prepared[row].value for row in rows]), strict=True))
        return [captions[row] for row in range(len(prepared))]

    def forward(self, prepared: Sequence[_PreparedImage], *_: Any) -> list[Caption]:
        """Run the model on images of one key; see :class:`datasetkit.core.protocols.PreparedModel`."""
        if not self._generation["do_sample"]:
            return self._describe(prepared)
        captions = []
        cuda = [self._model.device] if self._model.device.type == "cuda" else []
        for item in prepared:
            with torch.random.fork_rng(cuda):
                torch.manual_seed(item.seed or 0)
                captions += self._describe([item])
        return captions

    @torch.inference_mode()
    def _describe(self, prepared: Sequence[_PreparedImage]) -> list[Caption]:
        inputs = self._inputs(prepared)
        written = self._model.generate(**inputs, **self._generation)[:, inputs["input_ids"].shape[1] :]
        is_ended = torch.isin(written, torch.tensor(self._end_ids, device=written.device)).any(dim=1)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [
            Caption(" ".join(text.split()), not ended) for text, ended in zip(texts, is_ended.tolist(), strict=True)
        ]

    def _inputs(self, prepared: Sequence[_PreparedImage]) -> dict[str, torch.Tensor]:
        """Return the arguments of a batch. New tokens follow the last one, so shorter texts are padded on the left."""
        longest = max(item.arrays["input_ids"].shape[1] for item in prepared)
        inputs = {}
        for name in prepared[0].arrays:
            tensors = []
            for item in prepared:
                tensor = torch.from_numpy(item.arrays[name])
                missing = longest - item.arrays["input_ids"].shape[1]
                if missing and tensor.shape == item.arrays["input_ids"].shape:
                    fill = self._tokenizer.pad_token_id if name == "input_ids" else 0
                    tensor = functional.pad(tensor, (missing, 0), value=fill)
                dtype = self._model.dtype if tensor.is_floating_point() else None
                tensors.append(tensor.to(self._model.device, dtype))
            inputs[name] = torch.cat(tensors)
        return inputs


def _seed(seed: int, image: Image.Image) -> int:
    """Return a seed that depends on an image only, range [0, 2**63)."""
    digest = hashlib.sha256(f"{seed} {image.size}".encode() + image.tobytes()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


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
