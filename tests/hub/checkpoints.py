"""A preset of tiny checkpoints on a Hub of our own, of the classes that the shipped presets name."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from datasetkit.runtime.checkpoints import resolve
from tests.annotation.detectors.tiny import save_grounding_dino
from tests.hi_scoring.tiny_models import tiny
from tests.hub.server import HubServer

CAPTIONER, DETECTOR, SEGMENTER = "org/captioner", "org/detector", "org/segmenter"
# What no model is loaded from.
_PASSED_OVER = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "pytorch_model.bin": b"pickle" * 100,
    "model.fp16.safetensors": b"another" * 100,
    "onnx/model.onnx": b"graph" * 100,
    "example.py": b"raise SystemExit",
}


def publish(hub: HubServer, folder: Path) -> Path:
    """Put a captioner, a detector and a segmenter on a Hub; return a preset of them, each with its commit."""
    commits = {}
    for name, files in _checkpoints().items():
        repository = hub.create(name, repo_type="model")
        repository.write({**files, **_PASSED_OVER})
        commits[name] = repository.head
    preset = {
        "captioner": {"name": "image-text-to-text", "model": CAPTIONER, "max_new_tokens": 6},
        "detector": {"name": "grounding-dino", "model": DETECTOR, "score_min": 0.0},
        "segmenter": {"name": "sam", "model": SEGMENTER},
        "links": {"score_min": 0.0},
    }
    for part in preset.values():
        if "model" in part:
            part["revision"] = commits[str(part["model"])]
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(preset), encoding="utf-8")
    return path


@functools.cache
def _checkpoints() -> dict[str, dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as name:
        captioner, detector = Path(name) / "captioner", Path(name) / "detector"
        family = tiny("idefics3")
        family.model.save_pretrained(captioner)
        family.processor.save_pretrained(captioner)
        save_grounding_dino(detector, "grounding-dino")
        folders = {CAPTIONER: captioner, DETECTOR: detector, SEGMENTER: Path(resolve("toyworld:segmenter"))}
        return {model: dict(_read(folder)) for model, folder in folders.items()}


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if path.name != "README.md":
            yield path.name, path.read_bytes()
