"""Answer tracking compared with transformers' hidden states."""

from __future__ import annotations

import copy

import pytest
import torch
from tokenizers import normalizers

from datasetkit.hi_scoring.interventions.prompt_pass import read_prompt
from datasetkit.hi_scoring.interventions.tracking import TRACKED, track, tracked_tokens
from datasetkit.hi_scoring.model.dialogue import Dialogue
from tests.hi_scoring.interventions.asking import put, question
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.precision import TOLERANCE

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("in_float64")]


@pytest.mark.parametrize("name", family_params())
def test_probabilities_equal_transformers_hidden_states(name: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    tokens = (family.processor.tokenizer.convert_tokens_to_ids("red"), None)
    with torch.inference_mode():
        prompt = read_prompt(family.model, batch.inputs, batch.places[0]["last"], max_new_tokens=1, pad_token_id=0)
        found = {norm: track(family.model, prompt, tokens, final_norm=norm) for norm in (True, False)}
        plain = family.model(**batch.inputs, output_hidden_states=True)
        # The last one is already normalised.
        hidden = torch.stack([layer[0, -1] for layer in plain.hidden_states])
        normed = torch.cat([family.model.get_decoder().norm(hidden[:-1]), hidden[-1:]])
        for norm, rows in ((True, normed), (False, hidden)):
            logits = family.model.lm_head(rows)
            if name == "paligemma2":
                logits = torch.tanh(logits / 30) * 30
            expected = logits.softmax(-1)[:, tokens[0]].double()
            assert torch.allclose(found[norm][:, 0], expected, rtol=TOLERANCE, atol=0)
            assert found[norm][:, 1].isnan().all()
        assert (found[True][:-1, 0] - found[False][:-1, 0]).abs().max() > 1e-4
        assert found[True][-1, 0] == pytest.approx(float(plain.logits[0, -1].softmax(-1)[tokens[0]]), rel=TOLERANCE)


@pytest.mark.parametrize("name", family_params())
def test_tracked_tokens_are_first_tokens_in_order(name: str) -> None:
    family = tiny(name)
    tokenizer = family.processor.tokenizer
    written = Dialogue(family.processor, family.model.config).prompt("what colour ?")
    found = tracked_tokens(Dialogue(family.processor, family.model.config), written, "red circle", "blue")
    assert len(found) == len(TRACKED)
    # The tiny tokenizers lower-case all words.
    assert tokenizer.convert_ids_to_tokens(list(found)) == ["red", "red", "blue", "blue"]
    assert tracked_tokens(Dialogue(family.processor, family.model.config), written, "red", None)[2:] == (None, None)


def test_capitalised_answers_have_separate_tokens() -> None:
    family = tiny("llava")
    processor = copy.deepcopy(family.processor)
    processor.tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([])
    found = tracked_tokens(Dialogue(processor, family.model.config), "what colour ? assistant:", "red", "blue")
    assert processor.tokenizer.convert_ids_to_tokens(list(found)) == ["red", "<unk>", "blue", "<unk>"]
