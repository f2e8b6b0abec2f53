"""How much of the work was done sparsely, and why the rest was not. Owns the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from datasetkit.core.text import Explained


class DenseReason(Explained):
    """Why all heads of a layer had full attention on a prompt. The value is what results show."""

    HIDES_LITTLE = (
        "hides_little",
        "text, first tokens and window are most of the prompt, so that nothing would be saved",
    )
    OTHER_MASK = (
        "other_mask",
        "the layer's own mask is not causal, or slides: image tokens that see later ones, a prefix",
    )
    GAPS = "gaps", "the attention mask leaves out tokens between others"
    CONTINUES = "continues", "several tokens that follow a cache, or a cache of fixed size"
    SOFTCAP = "softcap", "the layer bounds its scores"


@dataclass
class Coverage:
    """How many pairs of a prompt and a layer with sparse heads were computed sparsely; how many dense, and why."""

    sparse: int = 0
    dense: Counter[DenseReason] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """How many of the pairs were sparse, in [0, 1]; NaN of none."""
        every = self.sparse + self.dense.total()
        return self.sparse / every if every else float("nan")

    def add(self, other: Coverage) -> None:
        """Count what another has counted, too."""
        self.sparse += other.sparse
        self.dense.update(other.dense)

    def as_json(self) -> dict[str, int | Mapping[str, int]]:
        """Plain values."""
        return {"sparse": self.sparse, "dense": {str(reason): self.dense[reason] for reason in sorted(self.dense)}}
