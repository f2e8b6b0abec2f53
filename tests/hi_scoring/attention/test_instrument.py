"""Instrumentation is removed completely; unsupported models and caches are refused."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5ForConditionalGeneration,
)

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import AttentionCall, Editor, instrumented
from datasetkit.hi_scoring.attention.instrument import _INSTRUMENTS
from datasetkit.runtime.batches import Batches
from tests.hi_scoring.attention.running import LONG, SHORT, AllRows, batch_of, eager, generate, implementation
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import TEXT, TinyFamily


def traces(model: Any) -> tuple[Any, ...]:
    """Everything that instrumenting could leave behind."""
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._forward_hooks_always_called))
        for module in model.modules()
    ]
    implementations = [module.config._attn_implementation for module in model.modules() if hasattr(module, "config")]
    return hooks, implementations, dict(_INSTRUMENTS.get())


def llama(**options: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**TEXT, "vocab_size": 50, **options})).eval()


def run(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.arange(7)[None])


@pytest.fixture
def family() -> TinyFamily:
    """A model that has run before, since transformers leaves hooks on the first run."""
    llava = tiny("llava")
    with torch.no_grad():
        llava.model(**batch_of(llava, SHORT))
    return llava


def test_nothing_stays_on_the_model(family):
    before = traces(family.model)
    with instrumented(family.model, readers=[AllRows()], editors=[Editor()]):
        during = traces(family.model)
        family.model(**batch_of(family, SHORT))
    assert during != before
    assert traces(family.model) == before


def test_nothing_stays_when_the_body_raises(family):
    before = traces(family.model)
    with pytest.raises(KeyError), instrumented(family.model):
        raise KeyError
    assert traces(family.model) == before


def test_nothing_stays_when_a_reader_raises():
    class Broken(AllRows):
        def read(self, call: AttentionCall, rows: torch.Tensor, probabilities: torch.Tensor) -> None:
            raise ZeroDivisionError

    model = llama()
    before = traces(model)
    with pytest.raises(ZeroDivisionError), instrumented(model, readers=[Broken()]):
        run(model)
    assert traces(model) == before
    reader = AllRows()
    with instrumented(model, readers=[reader]):
        run(model)
    assert len(reader.steps()) == 1


def test_original_implementation_is_restored():
    family = tiny("llava")
    with implementation(family.model, "eager"):
        with instrumented(family.model):
            assert family.model.model.vision_tower.config._attn_implementation == "sdpa"
        assert family.model.config.text_config._attn_implementation == "eager"


def test_nested_use_is_refused_and_outer_one_works():
    model, reader = llama(), AllRows()
    with instrumented(model, readers=[reader]):
        with pytest.raises(ModelError, match="already instrumented"), instrumented(model):
            pass
        run(model)
    assert len(reader.steps()) == 1


def test_two_models_at_once_give_separate_rows():
    first, second = llama(), llama(num_hidden_layers=2)
    readers = AllRows(), AllRows()
    with instrumented(first, readers=[readers[0]]), instrumented(second, readers=[readers[1]]):
        run(first)
        run(second)
    assert [len(reader.calls) for reader in readers] == [4, 2]


def test_another_thread_is_refused():
    model, errors = llama(), []

    def elsewhere() -> None:
        try:
            run(model)
        except ModelError as error:
            errors.append(str(error))

    with instrumented(model, readers=[AllRows()]):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "another thread" in errors[0]


def test_static_cache_is_refused():
    family = tiny("llava")
    with pytest.raises(ModelError, match="StaticCache"), instrumented(family.model):
        generate(family, batch_of(family, SHORT), cache_implementation="static", disable_compile=True)


def test_model_without_the_attention_interface_is_refused():
    model = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))
    before = traces(model)
    with pytest.raises(ModelError, match=r"BloomForCausalLM.*AttentionInterface"), instrumented(model):
        pass
    assert traces(model) == before


class OwnMixing(nn.Module):
    """Replaces attention without calling any attention function."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor, None]:
        return hidden_states.cumsum(1), None


@pytest.mark.parametrize("part", ["whole", "decoder"])
def test_forward_pass_that_reads_nothing_is_an_error(part):
    model = llama()
    for layer in model.model.layers:
        layer.self_attn = OwnMixing()
    with pytest.raises(ModelError, match="nothing was read"), instrumented(model, readers=[AllRows()]):
        run(model if part == "whole" else model.model)


SMALL_T5 = {"d_model": 8, "d_kv": 4, "num_layers": 1, "num_heads": 2, "d_ff": 8, "vocab_size": 9}
SMALL_SIGLIP = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}


def t5() -> None:
    ids = torch.ones(1, 4, dtype=torch.int64)
    model = T5ForConditionalGeneration(T5Config(**SMALL_T5)).eval()
    with instrumented(model):
        model(input_ids=ids, decoder_input_ids=ids)


def siglip() -> None:
    model = SiglipVisionModel(SiglipVisionConfig(**SMALL_SIGLIP)).eval()
    with instrumented(model):
        model(torch.zeros(1, 3, 224, 224))


def mask_of_more_keys() -> None:
    model = llama()
    with instrumented(model):
        model(torch.arange(7)[None], attention_mask=torch.ones(1, 1, 7, 8, dtype=torch.bool))


def gradient_checkpointing() -> None:
    model = llama().train()
    model.gradient_checkpointing_enable()
    with instrumented(model):
        model(torch.arange(7)[None]).logits.sum().backward()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (t5, "layer 0 uses position_bias"),
        (siglip, "SiglipAttention has no layer_idx"),
        (mask_of_more_keys, "7 keys and a mask of"),
        (gradient_checkpointing, "outside its decoder's forward pass"),
    ],
)
def test_unsupported_attention_is_refused(attempt, message):
    with pytest.raises(ModelError, match=message):
        attempt()


def test_attention_dropout_is_refused():
    model = llama(attention_dropout=0.5).train()
    with pytest.raises(ModelError, match=r"model\.eval"), instrumented(model):
        run(model)


def test_reader_of_missing_rows_is_refused():
    class Beyond(AllRows):
        def rows(self, call: AttentionCall) -> torch.Tensor:
            return torch.tensor([[7]])

    class OtherBatch(AllRows):
        def rows(self, call: AttentionCall) -> torch.Tensor:
            return torch.tensor([[0], [1]])

    model = llama()
    with instrumented(model, readers=[Beyond()]), pytest.raises(ModelError, match="rows 7 to 7 of 7"):
        run(model)
    with instrumented(model, readers=[OtherBatch()]), pytest.raises(ModelError, match="batch of 1"):
        run(model)


@pytest.mark.numeric
def test_inference_mode_reads_the_same():
    family, reader = tiny("gemma3"), AllRows()
    inputs = batch_of(family, LONG)
    expected = eager(family, inputs).attentions
    with torch.inference_mode(), instrumented(family.model, readers=[reader]):
        family.model(**inputs)
    for mine, theirs in zip(reader.steps()[0], expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


@pytest.mark.numeric
def test_bfloat16_gives_float32_rows_and_equal_logits():
    family, reader = tiny("llava"), AllRows()
    model = copy.deepcopy(family.model).to(torch.bfloat16)
    inputs = batch_of(family, LONG)
    with torch.no_grad():
        plain = model(**inputs).logits
        with instrumented(model, readers=[reader]):
            read = model(**inputs).logits
    assert torch.equal(plain, read)
    for layer in reader.steps()[0]:
        assert layer.dtype == torch.float32
        assert torch.allclose(layer.sum(-1), torch.ones(()), atol=1e-6)


def test_batches_halved_mid_pass_give_every_row(family):
    class Short(AllRows):
        """Runs out of memory for two samples in the third layer."""

        def rows(self, call: AttentionCall) -> torch.Tensor:
            if call.layer == 2 and len(call.query) > 1:
                raise MemoryError
            return super().rows(call)

    def read(texts):
        reader = Short()
        with torch.inference_mode(), instrumented(family.model, readers=[reader]):
            family.model(**batch_of(family, *texts))
        return [torch.stack(rows) for rows in zip(*reader.steps()[0], strict=True)]

    before = traces(family.model)
    batches = Batches(read, 2)
    assert len(batches.run([LONG, SHORT, LONG])) == 3
    assert batches.size == 1
    assert traces(family.model) == before
