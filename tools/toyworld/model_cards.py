"""Model cards of the shipped models, generated from the metrics and the template only."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from safetensors import safe_open

from datasetkit.core.templates import template_environment
from datasetkit.toyworld.scenes import HELD_OUT
from tools.toyworld.models.vlm import DESCRIBE_PROMPT, LIST_PROMPT
from tools.toyworld.training.saving import TRAINING_FILE

METRICS_FILE = "metrics.json"
_WEIGHTS_FILE = "model.safetensors"


def write_card(name: str, folder: Path, cards: Path) -> Path:
    """Write the card of the model in a folder to ``cards/toyworld_NAME.md`` and return its path."""
    path = cards / f"toyworld_{name}.md"
    path.write_text(render_card(name, folder), encoding="utf-8")
    return path


def render_card(name: str, folder: Path) -> str:
    """Fill the template with the metrics, training record and configuration of a model."""
    source = resources.files("datasetkit.export.cards").joinpath("model_card.md.j2").read_text(encoding="utf-8")
    return (
        template_environment(html=False)
        .from_string(source)
        .render(
            name=name,
            metrics=json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")),
            training=json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8")),
            architecture=json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0],
            parameters=count_parameters(folder),
            megabytes=(folder / _WEIGHTS_FILE).stat().st_size / 1e6,
            list_prompt=LIST_PROMPT,
            describe_prompt=DESCRIBE_PROMPT,
            held_out=[f"{colour.value} {shape.value}" for colour, shape in HELD_OUT],
        )
    )


def count_parameters(folder: Path) -> int:
    """Return the number of parameters in the weights file."""
    with safe_open(folder / _WEIGHTS_FILE, framework="numpy") as file:
        total = 0
        for key in file.keys():  # noqa: SIM118 - not a mapping
            size = 1
            for length in file.get_slice(key).get_shape():
                size *= length
            total += size
    return total
