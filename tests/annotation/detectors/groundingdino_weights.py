"""Weights of the original groundingdino-py as transformers' Grounding DINO names them, for the parity test."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Pattern of the original's name, and transformers' name; the first match counts.
_NAMES = [
    (
        r"^backbone\.0\.patch_embed\.proj\.",
        "model.backbone.conv_encoder.model.swin.embeddings.patch_embeddings.projection.",
    ),
    (r"^backbone\.0\.patch_embed\.norm\.", "model.backbone.conv_encoder.model.swin.embeddings.norm."),
    (r"^backbone\.0\.norm1\.", "model.backbone.conv_encoder.model.hidden_states_norms.stage2."),
    (r"^backbone\.0\.norm2\.", "model.backbone.conv_encoder.model.hidden_states_norms.stage3."),
    (r"^backbone\.0\.norm3\.", "model.backbone.conv_encoder.model.hidden_states_norms.stage4."),
    (r"^backbone\.0\.layers\.", "model.backbone.conv_encoder.model.swin.encoder.layers."),
    (r"^bert\.", "model.text_backbone."),
    (r"^feat_map\.", "model.text_projection."),
    (r"^input_proj\.", "model.input_proj_vision."),
    (r"^bbox_embed\.", "bbox_embed."),
    (r"^transformer\.tgt_embed\.", "model.query_position_embeddings."),
    (r"^transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed."),
    (r"^transformer\.encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."),
    (r"^transformer\.decoder\.norm\.", "model.decoder.layer_norm."),
    (r"^transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"^transformer\.", "model."),
]
# Within each kind of layer; all matches are applied.
_PARTS = {
    r"swin\.encoder\.layers\.\d+\.blocks": [
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.attn\.relative_position_bias_table", ".attention.relative_position_bias.relative_position_bias_table"),
        (r"\.attn\.proj\.", ".attention.o_proj."),
        (r"\.attn\.qkv\.", ".attention.{}_proj."),
    ],
    r"deformable_layer": [
        (r"\.norm1\.", ".self_attn_layer_norm."),
        (r"\.norm2\.", ".final_layer_norm."),
        (r"\.linear(\d)\.", r".fc\1."),
    ],
    r"text_enhancer_layer": [
        (r"\.norm1\.", ".layer_norm_before."),
        (r"\.norm2\.", ".layer_norm_after."),
        (r"\.linear(\d)\.", r".fc\1."),
        (r"\.in_proj_", ".{}."),
    ],
    r"fusion_layer": [
        (r"\.gamma_v$", ".vision_param"),
        (r"\.gamma_l$", ".text_param"),
        (r"\.layer_norm_v\.", ".layer_norm_vision."),
        (r"\.layer_norm_l\.", ".layer_norm_text."),
        (r"([._])v_proj\.", r"\1vision_proj."),
        (r"([._])l_proj\.", r"\1text_proj."),
    ],
    r"model\.decoder\.layers": [
        (r"\.norm1\.", ".encoder_attn_layer_norm."),
        (r"\.norm2\.", ".self_attn_layer_norm."),
        (r"\.norm3\.", ".final_layer_norm."),
        (r"\.catext_norm\.", ".encoder_attn_text_layer_norm."),
        (r"\.cross_attn\.", ".encoder_attn."),
        (r"\.ca_text\.", ".encoder_attn_text."),
        (r"\.linear(\d)\.", r".fc\1."),
        (r"\.in_proj_", ".{}."),
    ],
}
# What transformers computes itself or does not need.
_LEFT_OUT = re.compile(r"relative_position_index$|^bert\.pooler\.")


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the original's weights, and split those that hold query, key and value in one."""
    result: dict[str, Tensor] = {}
    for name, weight in state.items():
        if _LEFT_OUT.search(name):
            continue
        new = _renamed(name)
        if "{}" in new:
            parts = "qkv" if "qkv" in name else ("query", "key", "value")
            result.update({new.format(part): third for part, third in zip(parts, weight.chunk(3), strict=True)})
        else:
            result[new] = weight
    return result


def _renamed(name: str) -> str:
    for pattern, new in _NAMES:
        if re.match(pattern, name):
            name = re.sub(pattern, new, name)
            break
    for layer, parts in _PARTS.items():
        if re.search(layer, name):
            for pattern, new in parts:
                name = re.sub(pattern, new, name)
    return name
