"""How much of the work was sparse, and why the rest was dense. Owns the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from datasetkit.core.text import Explained


class DenseReason(Explained):
    """Why all heads of a layer had full attention on a prompt. Results show the value."""

    HIDES_LITTLE = (
        "hides_little",
        "text, first tokens and window are most of the prompt, so nothing would be saved",
    )
    OTHER_MASK = (
        "other_mask",
        "the layer's mask is not causal, or slides: image tokens that see later ones, a prefix",
    )
    GAPS = "gaps", "the attention mask leaves out tokens between others"
    CONTINUES = "continues", "several tokens that follow a cache, or a cache of fixed size"
    SOFTCAP = "softcap", "the layer caps its scores"


@dataclass
class Coverage:
    """Counts of pairs of a prompt and a layer with sparse heads: computed sparsely, and dense by reason."""

    sparse: int = 0
    dense: Counter[DenseReason] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """The share of sparse pairs, in [0, 1]; NaN if there are none."""
        every = self.sparse + self.dense.total()
        return self.sparse / every if every else float("nan")

    def add(self, other: Coverage) -> None:
        """Add the counts of another one."""
        self.sparse += other.sparse
        self.dense.update(other.dense)

    def as_json(self) -> dict[str, int | Mapping[str, int]]:
        """Return plain JSON values."""
        return {"sparse": self.sparse, "dense": {str(reason): self.dense[reason] for reason in sorted(self.dense)}}
