"""The model that is scored or tuned, by its name. Owns when and where it is loaded, and how results identify it."""

from __future__ import annotations

import copy
import hashlib
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from datasetkit import __version__
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.heads import FAMILIES
from datasetkit.runtime.devices import torch_device
from datasetkit.runtime.loading import checkpoint_identity, load_config, load_model, load_processor

_PACKAGES = ("torch", "transformers")


@dataclass(frozen=True)
class Subject:
    """A model by its name; it is loaded on first use.

    Args:
        name: Hub id, local folder, or the name of a shipped model.
        revision: commit, tag or branch on the Hub.
        device: a torch device name, or ``auto``.
        dtype: name of a floating-point type of torch.
        family: family of the model, if it is not found by the model's type; see :func:`family_of`.

    """

    name: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    family: str | None = None

    @cached_property
    def model(self) -> Any:
        """The loaded model, in evaluation mode."""
        return self.load()

    def load(self) -> Any:
        """Load the model again, in evaluation mode, for callers that change it."""
        family_of(self.config, self.family)
        device = self.torch_device
        return load_model(AutoModelForImageTextToText, self.name, self.revision, device=device, dtype=self.dtype)

    @property
    def torch_device(self) -> str:
        """The torch name of the device; with several GPUs, each process of a launcher uses a different one."""
        device = torch_device(self.device)
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device

    @cached_property
    def config(self) -> Any:
        """The model's configuration, read without its weights."""
        return load_config(self.name, self.revision)

    @cached_property
    def processor(self) -> Any:
        """The loaded processor, with a padding token even if its tokenizer had none."""
        processor = load_processor(AutoProcessor, self.name, self.revision)
        if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
            raise ModelError(
                f"{self.name} comes with only a {type(processor).__name__}; its folder lacks the processor of both "
                "images and texts (processor_config.json)"
            )
        if processor.tokenizer.pad_token_id is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        return processor

    @cached_property
    def dialogue(self) -> Dialogue:
        """The input format of the model."""
        return Dialogue(self.processor, self.config, self.family)

    @property
    def plugins(self) -> list[dict[str, Any]]:
        """Return the origin of the family, for results; empty if it is part of datasetkit."""
        origin = FAMILIES.origin(self.family or self.config.model_type)
        return [] if origin is None else [asdict(origin)]

    @cached_property
    def identity(self) -> ModelIdentity:
        """The identity of the weights; files of a folder are read once for it."""
        return checkpoint_identity("model", self.name, self.revision)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of layers and query heads."""
        return shape_of(self.config)

    def description(self, *packages: str) -> dict[str, Any]:
        """Return everything that decides the model's output, including other packages, as plain JSON values."""
        identity, plugins = self.identity, self.plugins
        return {
            "versions": {"datasetkit": __version__, **{name: version(name) for name in (*_PACKAGES, *packages)}},
            "model": {"id": identity.id, "revision": identity.revision, "sha256": identity.sha256},
            "dtype": self.dtype,
            "device": torch.device(self.torch_device).type,
            **({"plugins": plugins} if plugins else {}),
        }


class LoadedSubject(Subject):
    """A model passed as an object, identified by its class and its parameters."""

    @classmethod
    def of(cls, model: Any, processor: Any, family: str | None = None) -> LoadedSubject:
        """Wrap a model and its processor, which are not changed; callers that change the model receive a copy.

        Raises:
            ModelError: the model is in training mode.

        """
        if model.training:
            raise ModelError(f"this {type(model).__name__} is in training mode; call its eval()")
        kind, digest = type(model).__name__, hashlib.sha256()
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        if processor.tokenizer.pad_token_id is None:
            processor = copy.deepcopy(processor)
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        subject = cls(kind, None, str(model.device), str(model.dtype).removeprefix("torch."), family)
        identity = ModelIdentity("model", kind, None, digest.hexdigest())
        vars(subject).update(model=model, config=model.config, processor=processor, identity=identity)
        return subject

    @property
    def torch_device(self) -> str:
        """The device of the model."""
        return self.device

    def load(self) -> Any:
        """Return a copy of the model, for callers that change it."""
        return copy.deepcopy(self.model)


def shape_of(config: Any) -> tuple[int, int]:
    """Return the numbers of layers and query heads of a model's text decoder, from its configuration."""
    text = config.get_text_config()
    return text.num_hidden_layers, text.num_attention_heads
