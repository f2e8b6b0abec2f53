"""What can be put on a model's attention: readers and editors. Owns their interfaces."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from datasetkit.hi_scoring.attention.call import AttentionCall


class Reader(ABC):
    """Is given rows of the attention, layer by layer, while the model runs. They carry no gradient."""

    @abstractmethod
    def rows(self, call: AttentionCall) -> Tensor | None:
        """Choose rows of this call.

        Returns:
            indices into Q, shape (B, R), int64, -1 = none; None to be given nothing of this call.

        """

    @abstractmethod
    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:
        """Take rows, as they are after all editors. What is kept of them should be small.

        Args:
            call: of which.
            rows: the chosen ones or, where these are many, their next few columns, shape (B, R').
            probabilities: float32, shape (B, H, R', K); all 0 for -1.

        """

    def finish(self, call: AttentionCall) -> None:  # noqa: B027 - most readers need none
        """Take note that all chosen rows of this call have been given."""


class Editor:
    """Changes what rows of the attention see, or what the heads put out; this one leaves all as it is."""

    def rows(self, call: AttentionCall) -> Tensor | None:
        """Choose the rows whose keys change: indices into Q, shape (B, R), int64, -1 = none; None for no row."""

    def edit(self, call: AttentionCall, rows: Tensor, visible: Tensor) -> Tensor:
        """Say what rows see; each head must be left at least one key of each row.

        Must depend on nothing but its arguments and not write to them: rows that readers want are asked for again.

        Args:
            call: of which.
            rows: some of the chosen rows in any order, shape (B, R'), -1 = none.
            visible: what they see after the editors before this one, shape (B, H, R', K), bool.

        Returns:
            the same shape and type; what it says of -1 is ignored.

        """
        raise NotImplementedError(f"{type(self).__name__} chooses rows, so it must say what they see")

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:  # noqa: ARG002
        """Change what the heads put out, shape (B, Q, H, D), before they are mixed; must not write to it."""
        return output
