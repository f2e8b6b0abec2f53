"""Helpers for tests of pushing adapters: a real PEFT adapter on a tiny model, in a folder as tuning writes it."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image

from tests.hi_scoring.tiny_models import tiny
from tests.hub.server import HubServer

MODEL = "user/adapter"
BASE = "user/tiny-llava"
NAMES = {"README.md", "adapter.json", "adapter_config.json", "adapter_model.safetensors"}
CARD = f"""---
library_name: peft
base_model: {BASE}
datasets:
- user/scenes
tags:
- datasetkit
- lora
---
# A tuned adapter

## How it was tuned

FACTS
"""


def base_model() -> Any:
    """Return a new copy of the model of the adapter."""
    return deepcopy(tiny("llava").model)


def write_adapter(folder: Path, seed: int = 0, facts: str = "20 steps.") -> PeftModel:
    """Save a random adapter with its papers, next to files that must not be published; return the model."""
    targets = r".*language_model.*\.(q_proj|v_proj)"
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        config = LoraConfig(r=16, target_modules=targets, init_lora_weights=False)
        model = get_peft_model(base_model(), config).eval()
    model.peft_config["default"].base_model_name_or_path = BASE
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").write_text(CARD.replace("FACTS", facts))
    (folder / "adapter.json").write_text(json.dumps({"facts": facts}))
    (folder / "optimizer.pt").write_bytes(b"\x80\x04\0")
    (folder / "checkpoint-1").mkdir(exist_ok=True)
    (folder / "checkpoint-1" / "adapter_model.safetensors").write_bytes(b"\0")
    (folder / "log.txt").write_text("loss 1.0")
    return model


@cache
def _inputs() -> Any:
    image = Image.linear_gradient("L").convert("RGB")
    return tiny("llava").processor(images=image, text="<image> describe the image", return_tensors="pt")


def logits(model: Any) -> torch.Tensor:
    """Return the logits of a model for one image; shape (1, tokens, vocabulary)."""
    with torch.no_grad():
        return model(**_inputs()).logits  # type: ignore[no-any-return]


def held(hub: HubServer, revision: str = "main") -> dict[str, bytes]:
    """Return all files of the model repository on the Hub, except its `.gitattributes`."""
    repository = hub.repository(MODEL, "model")
    return {path: repository.read(path, revision) for path in repository.files(revision) if path != ".gitattributes"}
