"""The multimodal language model: LLaVA with a CLIP tower of 8x8 patches and a Llama of a few layers.

Owns its configuration, its processor and the chat template.
"""

from __future__ import annotations

from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from tools.toyworld.models.tokenizers import vlm_tokenizer, words_of

SIDE_PX = 128
PATCH_PX = 16
GRID = SIDE_PX // PATCH_PX
LIST_PROMPT = "List the objects."
DESCRIBE_PROMPT = "Describe the picture."
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{% if loop.first %}<s>{% endif %}USER: "
    "{% if message['content'] is string %}{{ message['content'] }} {% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image> {% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }} {% endfor %}{% endif %}"
    "{% else %}ASSISTANT: {% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
_IMAGE_MEAN = [0.5, 0.5, 0.5]
_IMAGE_STD = [0.25, 0.25, 0.25]


def vlm_processor() -> LlavaProcessor:
    """Return the processor: images to 128x128 px, texts to words, with a chat template."""
    side = {"height": SIDE_PX, "width": SIDE_PX}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size=side, crop_size=side, do_center_crop=False, image_mean=_IMAGE_MEAN, image_std=_IMAGE_STD
        ),
        tokenizer=vlm_tokenizer(words_of((LIST_PROMPT, DESCRIBE_PROMPT, "user : assistant"))),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def vlm_config(processor: LlavaProcessor, *, width: int = 128, layers: int = 4) -> LlavaConfig:
    """Return the architecture; ``width`` and ``layers`` apply to both the tower and the language model."""
    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
        projection_dim=width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlavaConfig(  # type: ignore[call-arg]
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=GRID**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pad_token_id=tokenizer.pad_token_id,
    )


def build_vlm(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Return a model with new weights from torch's current seed."""
    return LlavaForConditionalGeneration(vlm_config(processor))
