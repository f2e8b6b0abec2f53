"""The tokens that responses begin with, whose probability is there before anything is written. Owns how they are found.

An answer is the same however its first letter is written, and models write it both ways. The token is another one.
"""

from __future__ import annotations

from typing import Any

from datasetkit.hi_scoring.families import family_of


def first_token(config: Any, processor: Any, written: str, response: str) -> int | None:
    """Give the token that a response begins with where it follows a prompt; None where it has no token.

    Args:
        config: of the model.
        processor: of the model.
        written: the prompt, as :attr:`datasetkit.hi_scoring.model.dialogue.Dialogue.prompt` writes it.
        response: what the model is to say.

    """
    tokens, _ = family_of(config).response_tokens(processor, written, response)
    return tokens[0] if tokens else None


def first_tokens(config: Any, processor: Any, written: str, answer: str) -> tuple[int, ...]:
    """Give the tokens that an answer begins with as it is, in lower case and capitalised; otherwise as first_token.

    Returns:
        each token once, that of the answer as it is first; none where it has no token. The token that stands for
        whatever the tokenizer does not know is left out of the other spellings.

    """
    found, *others = (
        first_token(config, processor, written, text) for text in (answer, answer.lower(), answer.capitalize())
    )
    known = [token for token in others if token != processor.tokenizer.unk_token_id]
    return tuple(dict.fromkeys(token for token in (found, *known) if token is not None))
