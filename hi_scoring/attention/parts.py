"""What can be attached to a model's attention: readers and editors. Owns their interfaces."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from datasetkit.hi_scoring.attention.call import AttentionCall


class Reader(ABC):
    """Receives rows of the attention, layer by layer, while the model runs. They carry no gradient."""

    @abstractmethod
    def rows(self, call: AttentionCall) -> Tensor | None:
        """Choose rows of this call.

        Returns:
            indices into Q, shape (B, R), int64, -1 = none; None to receive nothing from this call.

        """

    @abstractmethod
    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:
        """Receive rows, as they are after all editors. Keep little of them: they are large.

        Args:
            call: the call they belong to.
            rows: the chosen rows or, if there are many, the next few columns of them, shape (B, R').
            probabilities: float32, shape (B, H, R', K); all 0 for -1.

        """

    def finish(self, call: AttentionCall) -> None:  # noqa: B027 - most readers need none
        """Finish this call: all its chosen rows have been read."""


class Editor:
    """Changes which keys rows of the attention see, or the head outputs; this base class changes nothing."""

    def rows(self, call: AttentionCall) -> Tensor | None:
        """Choose the rows whose keys change: indices into Q, shape (B, R), int64, -1 = none; None for no row."""

    def edit(self, call: AttentionCall, rows: Tensor, visible: Tensor) -> Tensor:
        """Return which keys rows see; each row of each head must keep at least one key.

        The result must depend only on the arguments, which must not be changed: rows that readers request are computed
        again.

        Args:
            call: the call they belong to.
            rows: some of the chosen rows in any order, shape (B, R'), -1 = none.
            visible: the keys they see after the editors before this one, shape (B, H, R', K), bool.

        Returns:
            an array of the same shape and type; rows for -1 are ignored.

        """
        raise NotImplementedError(f"{type(self).__name__} chooses rows, so it must override edit()")

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:  # noqa: ARG002
        """Return the changed head outputs, shape (B, Q, H, D), before they are mixed; must not write to ``output``."""
        return output
