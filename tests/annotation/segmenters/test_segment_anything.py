"""The original package compared with transformers' SAM with the same random weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.annotation.segmenters.segment_anything import SegmentAnythingSegmenter
from datasetkit.core.errors import ModelError
from datasetkit.options.models import SamOptions, SegmentAnythingOptions

SIZES_HW = ((64, 64), (128, 96), (37, 90), (300, 41))

# What transformers calls the package's parameters, part by part; the first match counts.
MLP = {"layers.0": "proj_in", "layers.1": "layers.0", "layers.2": "proj_out"}
NAMES = {
    "image_encoder": "vision_encoder",
    "patch_embed.proj": "patch_embed.projection",
    "blocks": "layers",
    ".norm": ".layer_norm",
    "neck.0": "neck.conv1",
    "neck.1": "neck.layer_norm1",
    "neck.2": "neck.conv2",
    "neck.3": "neck.layer_norm2",
    "output_upscaling.0": "upscale_conv1",
    "output_upscaling.1": "upscale_layer_norm",
    "output_upscaling.3": "upscale_conv2",
    "mask_downscaling.0": "mask_embed.conv1",
    "mask_downscaling.1": "mask_embed.layer_norm1",
    "mask_downscaling.3": "mask_embed.conv2",
    "mask_downscaling.4": "mask_embed.layer_norm2",
    "mask_downscaling.6": "mask_embed.conv3",
    "point_embeddings": "point_embed",
    "pe_layer.positional_encoding_gaussian_matrix": "shared_embedding.positional_embedding",
}


def converted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the package's weights under transformers' names."""
    result = {}
    for name, value in state.items():
        if "hypernetworks_mlps" in name or "iou_prediction_head" in name:
            name = re.sub(r"layers\.\d", lambda match: MLP[match[0]], name)
        for old, new in NAMES.items():
            name = name.replace(old, new)
        result[name] = value
    places = result["prompt_encoder.shared_embedding.positional_embedding"]
    return {**result, "shared_image_embedding.positional_embedding": places}


@pytest.fixture(scope="module")
def both(
    original: Path, image_processor: SamImageProcessorPil, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SegmentAnythingSegmenter, SamSegmenter]:
    side, patch, width = image_processor.size["longest_edge"], 8, 32
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=width,
            output_channels=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
            window_size=3,
            global_attn_indexes=[1],
            num_pos_feats=width // 2,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=width, image_size=side, patch_size=patch, mask_input_channels=16
        ),
        # The package's decoder normalises with torch's default. Converted checkpoints have 1e-6, which changes the
        # logits here by up to 2e-4 and may flip a pixel.
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=width, mlp_dim=width, num_attention_heads=2, iou_head_hidden_dim=width, layer_norm_eps=1e-5
        ),
    )
    model = SamModel(config)
    model.load_state_dict(converted(torch.load(original, weights_only=True)))
    folder = tmp_path_factory.mktemp("converted")
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    own = SegmentAnythingSegmenter(SegmentAnythingOptions(weights=original))
    return own, SamSegmenter(SamOptions(model=str(folder)))


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_logits_masks_and_scores_are_equal(both: Any, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    rng = np.random.default_rng(height)
    image = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))
    boxes = np.array([[0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1], [0.5, 0.5, 0.8, 0.7]]) * [width, height, width, height]
    logits: list[torch.Tensor] = []
    results = []
    for segmenter in both:
        handle = segmenter._model.mask_decoder.register_forward_hook(
            lambda _, __, output: logits.append(output[0].flatten().clone())
        )
        results.append(segmenter.segment([image], [boxes])[0])
        handle.remove()
    assert logits[0].std() > 0.1
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=0)
    for one, other in zip(*results, strict=True):
        assert one.mask == other.mask
        assert one.predicted_iou == pytest.approx(other.predicted_iou, abs=1e-4)
        assert one.stability == pytest.approx(other.stability, abs=1e-2)


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_masks_and_scores_equal_the_package_predictor(both: Any, size_hw: tuple[int, int]) -> None:
    from segment_anything import SamPredictor
    from segment_anything.utils.amg import calculate_stability_score

    height, width = size_hw
    rng = np.random.default_rng(width)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))).copy()
    box = np.array([0.1 * width, 0.2 * height, 0.7 * width, 0.9 * height])
    predictor = SamPredictor(both[0]._model)
    predictor.set_image(pixels)
    logits, iou, _ = predictor.predict(box=box, multimask_output=False, return_logits=True)
    segment = both[0].segment([Image.fromarray(pixels)], [box[None]])[0][0]
    np.testing.assert_array_equal(segment.mask.decode(), logits[0] > 0)
    assert segment.predicted_iou == pytest.approx(min(max(float(iou[0]), 0.0), 1.0), abs=1e-6)
    stability = calculate_stability_score(torch.from_numpy(logits), 0.0, 1.0)
    assert segment.stability == pytest.approx(float(stability[0]), abs=1e-6)


def test_identity_is_that_of_the_file(both: Any, original: Path) -> None:
    (identity,) = both[0].identities
    assert (identity.role, identity.id, identity.revision) == ("segmenter", "tiny.pth", None)
    assert len(identity.sha256) == 64


def test_unloadable_weights_are_reported(original: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.pth cannot be loaded as vit_b"):
        SegmentAnythingSegmenter(SegmentAnythingOptions(weights=tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match=r"text\.pth cannot be loaded as vit_b"):
        SegmentAnythingSegmenter(SegmentAnythingOptions(weights=tmp_path / "text.pth"))
    torch.save({"some": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth cannot be loaded as vit_b"):
        SegmentAnythingSegmenter(SegmentAnythingOptions(weights=tmp_path / "other.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list\.pth cannot be loaded as vit_b"):
        SegmentAnythingSegmenter(SegmentAnythingOptions(weights=tmp_path / "list.pth"))
