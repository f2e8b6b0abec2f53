"""Settings of published checkpoints, for tiny random models that process images in the same way."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from transformers import LlavaImageProcessorPil, SiglipImageProcessorPil, SiglipVisionConfig

from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import VISION, TinyFamily


@dataclass(frozen=True)
class Published:
    """A checkpoint's settings of its tower and image processor, and an image that suits it.

    Args:
        name: name of the checkpoint, or of one of several with the same settings.
        family: family of the tiny model that receives the settings.
        size_hw: size of the image, px.
        reduced: px of the image, down and across, that become one in the view of the whole image; None if not whole
            numbers.
        tower: changes of ``config.vision_config``.
        config: changes of the configuration.
        processor: changes of the processor.
        image_processor: changes of its image processor.

    """

    name: str
    family: str
    size_hw: tuple[int, int]
    reduced: tuple[int, int] | None
    tower: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    processor: Mapping[str, Any] = field(default_factory=dict)
    image_processor: Mapping[str, Any] = field(default_factory=dict)

    def tiny(self) -> TinyFamily:
        """Return a small model with random weights, whose tower has the published sizes."""
        small = tiny(self.family)
        processor = copy.copy(small.processor)
        image_class = self.image_processor.get("class", type(processor.image_processor))
        settings = {**processor.image_processor.to_dict(), **self.image_processor, "resample": Image.Resampling.NEAREST}
        processor.image_processor = image_class(**{name: settings[name] for name in settings if name != "class"})
        for name, value in self.processor.items():
            setattr(processor, name, value)
        config = copy.deepcopy(small.model.config)
        if "class" in self.tower:
            config.vision_config = self.tower["class"](**VISION, vision_use_head=False)
        # Layers of the tower that all see the same: one is enough if none is named.
        tower = (
            {"num_hidden_layers": 1} | self.tower if hasattr(config.vision_config, "num_hidden_layers") else self.tower
        )
        for target, changes in ((config, self.config), (config.vision_config, tower)):
            for name in changes.keys() - {"class"}:
                setattr(target, name, changes[name])
        torch.manual_seed(0)
        model = type(small.model)(config).eval()
        for name, weight in model.named_parameters():
            # Gemma's is initialised with zeros.
            if name.endswith("mm_input_projection_weight"):
                torch.nn.init.normal_(weight)
        return TinyFamily(self.family, model, processor)


def square(side_px: int) -> dict[str, int]:
    return {"height": side_px, "width": side_px}


def clip(side_px: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": side_px}, "crop_size": square(side_px)}


def tower(side_px: int, patch_px: int, **more: Any) -> dict[str, Any]:
    return {"image_size": side_px, "patch_size": patch_px, **more}


def canvases(side_px: int, *shapes: tuple[int, int]) -> list[list[int]]:
    return [[rows * side_px, columns * side_px] for rows, columns in shapes]


def idefics3(name: str, size: tuple[int, int], side: int, patch: int, scale: int, family: str) -> Published:
    return Published(
        name,
        family,
        size,
        (size[0] // side, size[1] // side),
        tower(side, patch),
        {"scale_factor": scale},
        {"image_seq_len": (side // patch // scale) ** 2},
        {"size": {"longest_edge": 4 * side}, "max_image_size": {"longest_edge": side}},
    )


def paligemma(name: str, side: int, family: str) -> Published:
    seq = {"image_seq_length": (side // 14) ** 2}
    return Published(name, family, (side, side), (1, 1), tower(side, 14), {}, seq, {"size": square(side), **seq})


def next_of_clip(size: tuple[int, int], reduced: tuple[int, int] | None) -> Published:
    grids = {"image_grid_pinpoints": canvases(336, (1, 2), (2, 1), (2, 2), (3, 1), (1, 3))}
    name = "llava-hf/llava-v1.6-mistral-7b-hf"
    return Published(name, "llava_next", size, reduced, tower(336, 14), grids, {}, {**clip(336), **grids})


def onevision(size: tuple[int, int], reduced: tuple[int, int]) -> Published:
    grids = {"image_grid_pinpoints": canvases(384, *((r, c) for r in range(1, 7) for c in range(1, 7)))}
    name = "llava-hf/llava-onevision-qwen2-7b-ov-hf"
    image = {"size": square(384), **grids}
    return Published(name, "llava_onevision", size, reduced, tower(384, 14), grids, {"num_image_tokens": 729}, image)


def qwen(name: str, family: str, size: tuple[int, int], patch: int, pixels: tuple[int, int]) -> Published:
    limits = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    return Published(name, family, size, (1, 1), {"patch_size": patch}, image_processor={"size": limits})


SIGLIP = {"class": SiglipVisionConfig}
WITHOUT_CLASS_TOKEN = {"num_additional_image_tokens": 0, "vision_feature_select_strategy": "full"}
GRANITE_GRIDS = {"image_grid_pinpoints": canvases(384, *((1, n) for n in range(2, 11)), (2, 1), (2, 2), (3, 1), (3, 2))}
PAN_AND_SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 256,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}
SMOL = "HuggingFaceTB/SmolVLM"
LLAVA = Published("llava-hf/llava-1.5-7b-hf", "llava", (336, 504), (1, 1), tower(336, 14), image_processor=clip(336))
LLAVA_THAT_PADS = replace(
    LLAVA,
    name="llava-hf/llava-1.5-7b-hf as its authors pad",
    size_hw=(100, 336),
    image_processor={"class": LlavaImageProcessorPil, "do_pad": True, **clip(336)},
)
LLAVA_THAT_CUTS_MORE = replace(
    LLAVA,
    name="a LLaVA that cuts on all sides",
    size_hw=(384, 400),
    image_processor={**clip(336), "size": {"shortest_edge": 384}},
)
INTERLEAVE = Published(
    "llava-hf/llava-interleave-qwen-0.5b-hf",
    "llava",
    (384, 768),
    (1, 2),
    tower(384, 14, **SIGLIP),
    {"vision_feature_select_strategy": "full", "image_seq_length": 729},
    WITHOUT_CLASS_TOKEN,
    {"class": SiglipImageProcessorPil, "size": square(384), "do_center_crop": False},
)
LLAVA_NEXT = next_of_clip((672, 672), (2, 2))
GRANITE = Published(
    "ibm-granite/granite-vision-3.2-2b",
    "llava_next",
    (768, 384),
    (2, 1),
    tower(384, 14, **SIGLIP),
    {"vision_feature_layer": [-2, -1], "vision_feature_select_strategy": "full", **GRANITE_GRIDS},
    WITHOUT_CLASS_TOKEN,
    {**clip(384), **GRANITE_GRIDS},
)
ONEVISION = onevision((768, 384), (2, 1))
PALIGEMMA = paligemma("google/paligemma-3b-mix-224", 224, "paligemma")
GEMMA3 = Published(
    "google/gemma-3-4b-it",
    "gemma3",
    (896, 1792),
    (1, 2),
    tower(896, 14),
    {"mm_tokens_per_image": 256},
    {
        "image_seq_length": 256,
        "full_image_sequence": f"\n\n<start_of_image>{'<image_soft_token>' * 256}<end_of_image>\n\n",
        "images_kwargs": {"data_format": "channels_first", **PAN_AND_SCAN},
    },
    {"size": square(896), **PAN_AND_SCAN},
)
SMOLVLM = idefics3(f"{SMOL}-Instruct", (768, 1536), 384, 14, 3, "idefics3")
INTERNVL = Published(
    "OpenGVLab/InternVL3-1B-hf",
    "internvl",
    (896, 896),
    (2, 2),
    {"image_size": (448, 448), "patch_size": (14, 14)},
    {"image_seq_length": 256},
    {"image_seq_length": 256},
    {"size": square(448)},
)
CHECKPOINTS = (
    LLAVA,
    LLAVA_THAT_PADS,
    LLAVA_THAT_CUTS_MORE,
    INTERLEAVE,
    LLAVA_NEXT,
    next_of_clip((600, 672), None),
    GRANITE,
    ONEVISION,
    onevision((1152, 1536), (3, 4)),  # its grid is shrunk
    PALIGEMMA,
    paligemma("google/paligemma-3b-mix-448", 448, "paligemma"),
    paligemma("google/paligemma2-3b-pt-896", 896, "paligemma2"),
    GEMMA3,
    idefics3("HuggingFaceM4/Idefics3-8B-Llama3", (728, 1456), 364, 14, 2, "idefics3"),
    SMOLVLM,
    idefics3(f"{SMOL}-256M-Instruct", (512, 2048), 512, 16, 4, "idefics3"),
    idefics3(f"{SMOL}2-2.2B-Instruct", (1536, 768), 384, 14, 3, "smolvlm"),
    idefics3(f"{SMOL}2-256M-Video-Instruct", (2048, 512), 512, 16, 4, "smolvlm"),
    INTERNVL,
    qwen("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl", (336, 448), 14, (56 * 56, 28 * 28 * 1280)),
    qwen("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl", (336, 448), 14, (56 * 56, 28 * 28 * 1280)),
    qwen("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", (320, 480), 16, (256 * 256, 4096 * 4096)),
)
