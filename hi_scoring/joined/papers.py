"""Claims of the papers. Owns their wording, their source, and the rule by which each is checked against results.

How a claim is turned into a number is our reading of the papers.
"""

from __future__ import annotations

from dataclasses import dataclass

# Largest loss that counts as small, as a share of the dense model's figure.
LITTLE = 0.05
TUNING = "Tuning the layers with the highest HI shifts the model more than tuning as many others"
RAM = "Ablating the heads with the highest RAM hurts more than ablating random heads of the same layers"
HI = "Ablating the heads with the highest HI hurts more than ablating random heads of the same layers"
FAST = "With full attention in the CoRe heads, sparse prefill is faster at little loss"
BETTER = "With full attention in the CoRe heads it loses less than with as many random heads"
LOWER = "The image flows to the question in lower layers rather than in higher ones"
THEN = "The question flows to the last position in higher layers than the image to the question"
LITTLE_LAST = "The image flows to the last position less than to the question, and less than the question does"
_TUNE_PAPER = "Sergeev & Kotelnikov, arXiv 2511.23375"
_CORE_PAPER = "Sun et al., arXiv 2606.05843"
_FLOW_PAPER = "Zhang et al., arXiv 2411.18620"
_ABLATION_RULE = (
    "Holds where some number of top heads costs more of the probability of the right answer (CIDEr without "
    "questions) than random sets do, beyond their spread and the noise of samples, and none costs less; does not hold "
    "where some costs less, and at least as many as cost more."
)


@dataclass(frozen=True)
class Held:
    """A claim to check against results: its source, the command that measures it, and the rule that decides it."""

    claim: str
    paper: str
    command: str
    rule: str


HELD = (
    Held(
        TUNING,
        _TUNE_PAPER,
        "datasetkit compare",
        "Holds where the top layers shift more than half of the metrics further than every rival of their size and no "
        "rival shifts one further; does not hold where rivals do in at least as many metrics.",
    ),
    Held(RAM, _CORE_PAPER, "datasetkit ablate --by ram:response", _ABLATION_RULE),
    Held(HI, "ours, after both papers", "datasetkit ablate --by hi:response", _ABLATION_RULE),
    Held(
        FAST,
        _CORE_PAPER,
        "datasetkit sparsify",
        "Holds where it is significantly faster, also than dense against itself, and its losses of right answers and "
        f"of CIDEr are significantly below {LITTLE:.0%}; does not hold where it is significantly slower or loses more.",
    ),
    Held(
        BETTER,
        _CORE_PAPER,
        "datasetkit sparsify",
        "Holds where some metric is better than with random heads and none worse; does not hold where some are worse, "
        "and at least as many as are better.",
    ),
    Held(LOWER, _FLOW_PAPER, "datasetkit knockout", "Holds or does not where the interval is on one side of 0."),
    Held(
        THEN,
        _FLOW_PAPER,
        "datasetkit knockout",
        "Holds where the interval is above 0; does not where it is at or below 0.",
    ),
    Held(
        LITTLE_LAST,
        _FLOW_PAPER,
        "datasetkit knockout",
        "Holds where both intervals are above 0; does not where one is below 0.",
    ),
)
