"""Explanations of the names on the joint page, for a reader who only has the page. Owns these texts."""

from __future__ import annotations

from collections.abc import Sequence

from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.joined.folders import ResultFolder
from datasetkit.hi_scoring.scores.report.glossary import POSITIONS
from datasetkit.hi_scoring.sparse.folder import Sparsity

_HEADS = {
    "HI": "Head Impact: overlap (IoU) of a head's most attended image tokens with those of a key object, from 0 to 1",
    "RAM": "Retrieval Attention Mass: share of a head's attention, on image and text, that is on key objects' tokens",
    "CoRe heads": "the heads with the highest RAM, 5 % of all unless stated otherwise",
    "key objects": "objects of the image that its description, or the question, names",
    "score:positions": "which score ranks heads, and of whose attention",
}
_KNOCKOUT = {
    "flow A -> B": "direct information flow from tokens A to tokens B: the attention from B to A, in all heads. "
    "When blocked, these edges are hidden in a window of layers; everything else stays, so information can only pass "
    "through other tokens",
    "image, key object, question, options, last": "tokens of the image, of the objects that the question names, of "
    "the question's words, of its options, and the last token of the prompt, from which the answer is read",
    "control": "as many edges to the same tokens, drawn at random",
    "change": "of the probability of the first token of the model's answer, in percent of its unblocked value",
}
_ABLATION = {
    "zero, mean, resample": "the replacement of a head's output: zeros, its mean over the data, or its output for "
    "another image",
    "top, bottom, random": "heads with the highest and with the lowest score, and sets drawn at random with as many "
    "heads in each layer as the top ones",
}
_SPARSE = {
    "dense, core, random": "the model as it is; full attention kept by the CoRe heads; kept by as many random heads of "
    "the same layers. The other heads see text, the first tokens and a window",
    "times as fast": "seconds to the first token, dense over sparse, of each prompt in turns; dense against itself "
    "shows how much times vary",
}


def explained(folders: Sequence[ResultFolder]) -> list[tuple[str, str]]:
    """Return an explanation for each name that the folders' sections use."""
    return [
        *_HEADS.items(),
        ("positions", "; ".join(f"{name}: {what}" for name, what in POSITIONS.items())),
        *(
            pair
            for kind, words in _BY_KIND
            if any(isinstance(folder.results, kind) for folder in folders)
            for pair in words.items()
        ),
    ]


_BY_KIND: tuple[tuple[type, dict[str, str]], ...] = (
    (Knockouts, _KNOCKOUT),
    (Ablations, _ABLATION),
    (Sparsity, _SPARSE),
)
