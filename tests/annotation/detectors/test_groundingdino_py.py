"""The original groundingdino-py compared with transformers' Grounding DINO with equal weights, and its refusals.

The images of the raw comparison are larger than 224 px: for smaller ones transformers' Swin shrinks its windows, the
original's does not; both detectors scale images to 800 px. The weights keep reference boxes away from the border, where
the original clips logits at 1e-3 and transformers at 1e-5.
"""

from __future__ import annotations

import importlib
import pickle
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from datasetkit.annotation.detectors import groundingdino_py
from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.detectors.groundingdino_bert import (
    PromptTokenizer,
    TextEncoder,
    check_transformers,
    in_place_of_package_bert,
)
from datasetkit.annotation.detectors.groundingdino_model import CONFIGS, build_model, load_weights, read_config
from datasetkit.annotation.detectors.groundingdino_py import GroundingDinoPyDetector, lower_case
from datasetkit.annotation.detectors.tokens import encode_prompt, pad_right
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import ModelError
from datasetkit.core.ledger import NoticeKind
from datasetkit.options.models import GroundingDinoOptions, GroundingDinoPyOptions
from tests.annotation.detectors.groundingdino_weights import converted
from tests.annotation.detectors.tiny import bert_tokenizer

ELSEWHERE = "not installed here; `make test-extras` runs this file"
pytest.importorskip("torchvision", reason=f"torchvision is {ELSEWHERE}")
pytest.importorskip("groundingdino", reason=f"groundingdino-py is {ELSEWHERE}")
package = importlib.import_module("groundingdino.models.GroundingDINO.groundingdino")
bertwarper = importlib.import_module("groundingdino.models.GroundingDINO.bertwarper")
get_tokenlizer = importlib.import_module("groundingdino.util.get_tokenlizer")
misc = importlib.import_module("groundingdino.util.misc")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

LAYERS, QUERIES = 2, 50
BERT = BertConfig(vocab_size=1030, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
CATS, DOGS = "a red cat . two dogs .", "woman and a star ? A dog."


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ``model.yaml``, ``model.pth`` and ``bert`` to a folder: Swin-T, with fewer layers after it."""
    folder = tmp_path_factory.mktemp("groundingdino")
    BERT.save_pretrained(folder / "bert")
    bert_tokenizer().save_pretrained(folder / "bert")
    options = {"enc_layers": LAYERS, "dec_layers": LAYERS, "num_queries": QUERIES}
    (folder / "model.yaml").write_text(yaml.safe_dump(options))
    torch.manual_seed(0)
    with in_place_of_package_bert(package, TextEncoder(BERT), PromptTokenizer(bert_tokenizer())):
        model = package.build_groundingdino(read_config(str(folder / "model.yaml")))
    for name, weight in model.named_parameters():
        if "gamma" in name or "bias" in name or "bbox_embed" in name:
            torch.nn.init.normal_(weight, std=0.02)
    state = {f"module.{name}": weight for name, weight in model.state_dict().items()}
    # As in the published checkpoints.
    state["module.label_enc.weight"] = torch.zeros(2, 2)
    state["module.bert.embeddings.position_ids"] = torch.zeros(1, 512)
    torch.save({"model": state}, folder / "model.pth")
    return folder


def options_of(files: Path, **changes: Any) -> GroundingDinoPyOptions:
    given = {"config": str(files / "model.yaml"), "weights": files / "model.pth", "text_encoder": str(files / "bert")}
    return GroundingDinoPyOptions(**{**given, **changes})


@pytest.fixture(scope="module")
def original(files: Path) -> Any:
    return build_model(options_of(files))


@pytest.fixture(scope="module")
def twin(original: Any) -> GroundingDinoForObjectDetection:
    """Return transformers' model with the original's weights."""
    backbone = SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
    )
    config = GroundingDinoConfig(
        backbone_config=backbone.to_dict(),
        text_config=BERT.to_dict(),
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        num_queries=QUERIES,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    keys = model.load_state_dict(converted(original.state_dict()), strict=False)
    assert keys.unexpected_keys == []
    # A norm of the last stage that the detector does not use.
    assert [name for name in keys.missing_keys if "swin.layernorm." not in name] == []
    return model


@pytest.fixture(scope="module")
def load(files: Path) -> Callable[..., GroundingDinoPyDetector]:
    def loaded(dtype: str = "float32", **changes: Any) -> GroundingDinoPyDetector:
        return GroundingDinoPyDetector(options_of(files, **changes), dtype=dtype)

    return loaded


@pytest.fixture(scope="module")
def detector(load: Callable[..., GroundingDinoPyDetector]) -> GroundingDinoPyDetector:
    return load()


@pytest.fixture
def scaled_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale images to 256 px instead of 800: a tenth of the time."""
    monkeypatch.setattr(groundingdino_py, "_SHORT_SIDE_PX", 256)


def make_image(seed: int, width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def found(detector: Any, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections]:
    answers = detector.detect(images, queries)
    assert all(isinstance(answer, Detections) for answer in answers)
    return answers


def assert_alike(one: Detections, other: Detections, px: float = 0.05, score: float = 1e-4) -> None:
    """Assert equality up to rounding; boxes of nearly equal scores may be swapped."""
    assert len(one.boxes_xyxy) == len(other.boxes_xyxy) > 0
    rows, others = (np.concatenate([given.boxes_xyxy / px, given.scores / score], axis=1) for given in (one, other))
    apart = np.abs(rows[:, None] - others).max(axis=2)
    assert apart.min(axis=0).max() < 1
    assert apart.min(axis=1).max() < 1


@pytest.mark.parametrize(
    ("sizes", "caption"),
    [
        ([(256, 320)], CATS),
        ([(320, 288)], DOGS),
        ([(256, 320), (320, 288)], CATS),
        ([(256, 320), (320, 288), (232, 400)], DOGS),
        ([(256, 256)], "cat . " * 127),
    ],
    ids=["one", "another", "two sizes", "three sizes", "256 tokens"],
)
def test_boxes_and_logits_equal_transformers(
    original: Any, twin: Any, sizes: list[tuple[int, int]], caption: str
) -> None:
    noise = torch.Generator().manual_seed(1)
    images = misc.nested_tensor_from_tensor_list([torch.randn(3, *size, generator=noise) for size in sizes])
    text = pad_right([encode_prompt(bert_tokenizer(), caption)] * len(sizes))
    with torch.inference_mode():
        ours = original(images, captions=[caption] * len(sizes))
        theirs = twin(pixel_values=images.tensors, pixel_mask=(~images.mask).long(), **text)
    logits, tokens = ours["pred_logits"], text["input_ids"].shape[1]
    assert logits.shape == (len(sizes), QUERIES, 256)
    assert torch.isneginf(logits[..., tokens:]).all()
    assert logits[..., :tokens].std() > 0.1
    torch.testing.assert_close(logits, theirs.logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours["pred_boxes"], theirs.pred_boxes, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("scaled_small")
def test_detections_equal_the_other_detector(detector: Any, twin: Any, tmp_path: Path) -> None:
    twin.save_pretrained(tmp_path)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 256, "longest_edge": 1333})
    GroundingDinoProcessor(image_processor, bert_tokenizer()).save_pretrained(tmp_path)
    other = GroundingDinoDetector(GroundingDinoOptions(model=str(tmp_path)))
    # Images that neither detector scales: the two scale differently.
    images = [make_image(0, 272, 256), make_image(1, 256, 304)]
    query = Query.of_phrases(["a Cat", "two red dogs"])
    for one, another in zip(found(detector, images, [query] * 2), found(other, images, [query] * 2), strict=True):
        assert_alike(one, another)


@pytest.mark.usefixtures("scaled_small")
def test_each_image_gets_its_own_query(detector: Any) -> None:
    images = [make_image(0, 272, 256), make_image(1, 256, 304)]
    queries = [Query.of_phrases(["a cat", "two dogs and a star"]), Query.of_phrases(["a man", "red", "dog"])]
    together = found(detector, images, queries)
    for image, query, answer in zip(images, queries, together, strict=True):
        assert answer.scores.shape[1] == len(query.spans)
        assert_alike(answer, found(detector, [image], [query])[0])
    assert found(detector, [], []) == []
    assert len(found(detector, images[:1], [Query("a cat", ())])[0].boxes_xyxy) == 0


@pytest.mark.usefixtures("scaled_small")
def test_half_precision_and_the_other_options(load: Callable[..., GroundingDinoPyDetector]) -> None:
    image, query = make_image(2, 640, 480), Query.of_phrases(["a cat", "two dogs"])
    best = {}
    for reduction in ("mean", "max"):
        answer = found(load(score_min=0.0, reduction=reduction, dtype="bfloat16"), [image], [query])[0]
        boxes = answer.boxes_xyxy
        assert len(boxes) == QUERIES
        assert (boxes >= 0).all()
        assert (boxes <= (640, 480, 640, 480)).all()
        best[reduction] = answer.scores.sum()
    assert best["max"] > best["mean"]


@pytest.mark.usefixtures("scaled_small")
def test_long_queries_are_split(detector: Any) -> None:
    query = Query.of_phrases([f"{number} cat" for number in range(80)])
    answer = found(detector, [make_image(3, 64, 64)], [query])[0]
    assert answer.notices == (NoticeKind.PROMPT_SPLIT,)
    assert answer.scores.shape[1] == 80


def test_red_image_reaches_the_model_red(detector: Any) -> None:
    seen: list[torch.Tensor] = []
    embedding = detector._model.backbone[0].patch_embed
    with torch.inference_mode():
        hook = embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        found(detector, [Image.new("RGB", (20, 200), (255, 0, 0))], [Query.of_phrases(["cat"])])
        hook.remove()
    red = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert seen[0].shape == (1, 3, 1330, 133)
    torch.testing.assert_close(seen[0], red[None, :, None, None].expand_as(seen[0]))


def test_identities_name_all_files(detector: Any) -> None:
    assert [(identity.role, identity.id) for identity in detector.identities] == [
        ("detector", "model.pth"),
        ("detector's configuration", "model.yaml"),
        ("tokenizer", "bert"),
    ]
    assert all(len(identity.sha256 or "") == 64 for identity in detector.identities)


def test_yaml_equals_the_package_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    assert read_config(str(path)) == read_config(CONFIGS[0])
    base = read_config(CONFIGS[1])
    path.write_text(yaml.safe_dump(vars(base)))
    assert read_config(str(path)) == base != read_config(CONFIGS[0])
    path.write_text("dropout: 0\n")
    assert isinstance(read_config(str(path)), Namespace)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.py", "raise SystemExit", "nor a .yaml file"),
        ("config.yaml", "encoder_layers: 6", "unknown option 'encoder_layers'"),
        ("config.yaml", "enc_layers: six", "enc_layers: 'six'"),
        ("config.yaml", "enc_layers: true", "enc_layers: True"),
        ("config.yaml", "backbone: resnet50", "use one of swin_T_224_1k"),
        ("config.yaml", "[1]", "does not map options"),
        ("config.yaml", "!!python/object/apply:os.getcwd []", "is not YAML"),
        ("config.yaml", "{", "is not YAML"),
    ],
)
def test_bad_configurations_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message.replace("[", r"\[")):
        read_config(str(tmp_path / name))


def test_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_config(str(tmp_path / "none.yaml"))


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_weights_with_code_are_refused(original: Any, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"model": {"bert": Trap(sprung)}}, tmp_path / "trap.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"model": Trap(sprung)}))
    for name in ("trap.pth", "pickle.pth"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_weights(original, tmp_path / name)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("feat_map.bias"), r"1 \(feat_map.bias\) missing, none unexpected"),
        (lambda state: state.update(extra=torch.zeros(1)), r"none missing, 1 \(extra\) unexpected"),
        (lambda state: state.update({"feat_map.bias": torch.zeros(1)}), "do not fit the configuration.*feat_map.bias"),
        (lambda state: state.update({"feat_map.bias": 3}), "do not fit the configuration"),
    ],
)
def test_unfitting_weights_are_refused(
    original: Any, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    state = dict(original.state_dict())
    change(state)
    torch.save({"model": state}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=message):
        load_weights(original, tmp_path / "model.pth")


@pytest.mark.parametrize("content", [{}, {"model": 1}, torch.zeros(1), [1]])
def test_weights_of_another_form_are_refused(original: Any, tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="no entry 'model'"):
        load_weights(original, tmp_path / "model.pth")


def test_missing_and_empty_weights_are_refused(original: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    for name in ("none.pth", "empty.pth"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_weights(original, tmp_path / name)


def test_package_is_restored(files: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("query_dim: 4\nreturn_interm_indices: [7]\n")
    with pytest.raises(ModelError, match="does not build a model"):
        build_model(options_of(files, config=str(tmp_path / "broken.yaml")))
    assert package.BertModelWarper is bertwarper.BertModelWarper
    assert package.get_tokenlizer is get_tokenlizer


def test_text_encoders_other_than_bert_are_refused(files: Path, tmp_path: Path) -> None:
    SwinConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a swin"):
        build_model(options_of(files, config=CONFIGS[0], text_encoder=str(tmp_path)))


@pytest.mark.parametrize("version", ["4.57.1", "6.0.0", "6.0.0.dev0"])
def test_unsupported_transformers_are_refused(version: str) -> None:
    check_transformers("5.0.0")
    check_transformers(transformers.__version__)
    with pytest.raises(ModelError, match=f"{version} is installed"):
        check_transformers(version)


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5), st.text())
def test_lower_case_keeps_phrases(phrases: list[str], tail: str) -> None:
    query = Query.of_phrases(phrases)
    query = Query(query.text + tail, query.spans)
    lowered = lower_case(query)
    # The last sigma of a word has its own form, and what follows a phrase decides which sigma is the last.
    final, other = "\u03c2", "\u03c3"
    expected = [phrase.lower().replace(final, other) for phrase in phrases]
    assert [phrase.replace(final, other) for phrase in lowered.phrases] == expected
    assert lowered.text == query.text.lower()
    assert lower_case(Query("İİ cat", ((3, 6),))).phrases == ("cat",)
