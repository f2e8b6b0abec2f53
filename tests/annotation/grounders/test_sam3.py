"""SAM 3 at its smallest, with random weights: tests its inputs and how its output is read."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasetkit.core.detections import Grounding, Query
from datasetkit.core.errors import MissingPackageError, ModelError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.options.models import Sam3Options
from tests.annotation.segmenters.syncs import Syncs

SIDE_PX, WIDTH = 56, 32
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8))
HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None
needs_torchvision = pytest.mark.skipif(not HAS_TORCHVISION, reason="sam3 needs torchvision")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    small: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": WIDTH,
    }
    sides = [16, 8, 4]
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": WIDTH,
                "intermediate_size": WIDTH,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE_PX,
                "pretrain_image_size": SIDE_PX,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": WIDTH,
            "backbone_feature_sizes": [[side, side] for side in sides],
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 20,
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "projection_dim": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 8,
            "eos_token_id": 1,
            "bos_token_id": 0,
            "pad_token_id": 1,
        },
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 6},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 2},
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sam3")
    Sam3Model(config).save_pretrained(path)
    words = ["<s>", "</s>", "a", "red", "ball", "two", "cats", "dog"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    Sam3Processor(
        Sam3ImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}),
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"),
    ).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def grounder(folder: str) -> Any:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    return Sam3Grounder(Sam3Options(model=folder, score_min=0.0))


@needs_torchvision
def test_each_phrase_has_its_own_numbered_regions(grounder: Any) -> None:
    query = Query.of_phrases(["a red ball", "two cats"])
    grounding = grounder.ground([IMAGE], [query])[0]
    assert isinstance(grounding, Grounding)
    assert {region.best_phrase for region in grounding.regions} == {0, 1}
    numbers = [item.number for item in (*grounding.regions, *grounding.removals)]
    assert sorted(numbers) == list(range(12)), "six queries for each of two phrases"
    assert [region.number for region in grounding.regions] == sorted(region.number for region in grounding.regions)
    for region in grounding.regions:
        left, top, right, bottom = region.box_xyxy
        assert 0 <= left < right <= 70
        assert 0 <= top < bottom <= 40
        assert region.mask.size_hw == (40, 70)
        assert sorted(region.phrase_scores)[0] == 0.0 < region.score <= 1.0
        assert region.predicted_iou is None
        assert region.stability is not None
    for removal in grounding.removals:
        assert removal.reason is DropReason.EMPTY_MASK


@needs_torchvision
def test_boxes_scores_and_masks_equal_transformers(grounder: Any) -> None:
    grounding = grounder.ground([IMAGE], [Query.of_phrases(["a red ball"])])[0]
    processor = grounder.preparer.processor
    inputs = processor.image_processor([IMAGE], return_tensors="pt")
    tokens = processor.tokenizer("a red ball", padding="max_length", max_length=8, return_tensors="pt")
    with torch.inference_mode():
        output = grounder._model(
            inputs["pixel_values"], input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
    theirs = processor.post_process_instance_segmentation(
        output, threshold=0.0, target_sizes=[(IMAGE.height, IMAGE.width)]
    )[0]
    order = theirs["scores"].argsort(descending=True).tolist()
    for region in grounding.regions:
        index = order[region.number]
        assert region.score == pytest.approx(float(theirs["scores"][index]), abs=1e-5)
        inside = np.clip(theirs["boxes"][index].numpy(), 0, [70, 40, 70, 40])
        np.testing.assert_allclose(region.box_xyxy, inside, atol=1e-3)
        mask = theirs["masks"][index].numpy() > 0
        assert (region.mask.decode() != mask).mean() < 0.05, "resized before the sigmoid, not after it"


@needs_torchvision
def test_image_is_encoded_once_if_it_has_phrases(grounder: Any) -> None:
    seen: list[torch.Tensor] = []
    handle = grounder._model.vision_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    red = Image.new("RGB", (50, 30), (255, 0, 0))
    queries = [Query.of_phrases(["a dog", "two cats", "a ball"]), Query("nothing", ()), Query.of_phrases(["a dog"])]
    results = grounder.ground([red, IMAGE, IMAGE], queries)
    handle.remove()
    assert [len(pixels) for pixels in seen] == [1, 1]
    assert results[1] == Grounding(())
    np.testing.assert_allclose(seen[0].mean((0, 2, 3)).numpy(), [1.0, -1.0, -1.0], atol=1e-4)


@needs_torchvision
def test_host_waits_once_per_phrase_and_once_for_masks(grounder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which masks are wanted depends on the scores, so these are copied phrase by phrase, all masks at the end."""
    query = Query.of_phrases(["a dog", "two cats", "a ball"])
    prepared = [grounder.preparer(IMAGE, query).value]
    vision = grounder._encode(prepared[0].pixels)
    monkeypatch.setattr(grounder, "_encode", lambda _: vision)
    syncs = Syncs()
    before: list[int] = []
    # What transformers itself waits for is not counted.
    handles = [
        grounder._model.register_forward_pre_hook(lambda *_: before.append(len(syncs.calls))),
        grounder._model.register_forward_hook(lambda *_: syncs.calls.__delitem__(slice(before[-1], None))),
    ]
    with syncs:
        grounder.forward(prepared, [IMAGE], [query])
    for handle in handles:
        handle.remove()
    assert len(before) == 3
    assert syncs.calls == ["torch.Tensor.cpu"] * 4


@needs_torchvision
def test_detections_below_the_minimum_are_left_out(folder: str, grounder: Any) -> None:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    query = Query.of_phrases(["a dog"])
    scores = sorted(region.score for region in grounder.ground([IMAGE], [query])[0].regions)
    strict = Sam3Grounder(Sam3Options(model=folder, score_min=scores[len(scores) // 2]))
    given = [region.score for region in strict.ground([IMAGE], [query])[0].regions]
    assert sorted(given) == scores[len(scores) // 2 :]


@needs_torchvision
def test_long_phrase_is_cut_with_a_notice(grounder: Any) -> None:
    grounding = grounder.ground([IMAGE], [Query.of_phrases(["a dog", "a " * 9 + "dog"])])[0]
    assert grounding.notices == (NoticeKind.PHRASE_CUT,)
    assert grounder.ground([IMAGE], [Query.of_phrases(["a dog"])])[0].notices == ()


@needs_torchvision
def test_fault_of_one_image_leaves_the_others_intact(folder: str) -> None:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    grounder = Sam3Grounder(Sam3Options(model=folder, score_min=0.0))
    query = Query.of_phrases(["a dog"])

    def fail(_: torch.nn.Module, args: tuple) -> tuple | None:
        if (args[0] > 0.99).all():
            raise torch.OutOfMemoryError("no more")
        return (args[0] * float("nan"),) if (args[0] < -0.99).all() else None

    grounder._model.vision_encoder.register_forward_pre_hook(fail)
    white, black = (Image.new("RGB", (20, 20), colour) for colour in ("white", "black"))
    memory, good, number = grounder.ground([white, IMAGE, black], [query] * 3)
    assert isinstance(memory, UnusableError)
    assert memory.reason is DropReason.OUT_OF_MEMORY
    assert isinstance(number, UnusableError)
    assert number.reason is DropReason.NOT_FINITE
    assert isinstance(good, Grounding)


@needs_torchvision
def test_shorter_type_is_used_for_the_encoder(folder: str) -> None:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    grounder = Sam3Grounder(Sam3Options(model=folder, score_min=0.0), dtype="bfloat16")
    seen: list[torch.dtype] = []
    grounder._model.vision_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    assert isinstance(grounder.ground([IMAGE], [Query.of_phrases(["a dog"])])[0], Grounding)
    assert seen == [torch.bfloat16]


@needs_torchvision
def test_other_architecture_is_refused() -> None:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    with pytest.raises(ModelError, match="type sam; give one of type sam3 or sam3_video"):
        Sam3Grounder(Sam3Options(model="toyworld:segmenter"))


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed")
def test_missing_torchvision_names_the_command() -> None:
    from datasetkit.annotation.grounders.sam3 import Sam3Grounder

    with pytest.raises(MissingPackageError, match=r"sam3 needs torchvision.*pip install"):
        Sam3Grounder(Sam3Options(model="anything"))
