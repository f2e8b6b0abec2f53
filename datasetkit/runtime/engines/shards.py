"""One shard of a job array: which tasks are whose, without a coordinator. Owns what clusters say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from datasetkit.core.errors import RecipeError

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})")
# Index and count of torchrun, MPI-like launchers and srun; arrays of Slurm and Kubernetes are read on their own.
_PAIRS = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


@dataclass(frozen=True, slots=True)
class Shard:
    """The tasks whose number leaves a remainder.

    Args:
        index: the remainder, from 0 to ``count`` - 1.
        count: number of shards.

    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, number: int) -> bool:
        """Return whether a task is of this shard."""
        return number % self.count == self.index

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``INDEX/COUNT``.

        Raises:
            ValueError: the text is not of that form, or the index is not below the count.

        """
        found = _FORM.fullmatch(text.strip())
        if found is None or not int(found[1]) < int(found[2]):
            raise ValueError("give INDEX/COUNT with an index below the count, such as 0/8 for the first of eight")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_environment(cls, variables: Mapping[str, str]) -> Self:
        """Read the shard from what Slurm, torchrun, MPI or Kubernetes set.

        Raises:
            RecipeError: no such variables, or they do not determine a shard.

        """
        if "SLURM_ARRAY_TASK_ID" in variables:
            return cls._of_slurm(variables)
        for index, count in _PAIRS:
            if index in variables and count in variables:
                return cls._checked(f"{variables[index]}/{variables[count]}", f"{index}/{count}")
        if "JOB_COMPLETION_INDEX" in variables:
            raise RecipeError(
                "Kubernetes sets JOB_COMPLETION_INDEX, but not the number of completions; give both: "
                "--shard $(JOB_COMPLETION_INDEX)/COUNT"
            )
        raise RecipeError("nothing says which shard this is (Slurm, torchrun, MPI); give --shard INDEX/COUNT")

    @classmethod
    def _of_slurm(cls, variables: Mapping[str, str]) -> Self:
        """Read an array of Slurm, which begins at 0 or 1 and may have a step, but no gaps.

        One that begins later is likely to be jobs that are run again, whose shards are of a larger array.
        """
        names = ("ID", "MIN", "MAX", "COUNT", "STEP")
        try:
            found = {name: int(variables.get(f"SLURM_ARRAY_TASK_{name}", "1" * (name == "STEP"))) for name in names}
            step = found["STEP"] or 1
        except ValueError:
            raise RecipeError("SLURM_ARRAY_TASK_* are incomplete; give --shard INDEX/COUNT") from None
        has_gaps = found["MAX"] - found["MIN"] != step * (found["COUNT"] - 1) or (found["ID"] - found["MIN"]) % step
        if has_gaps or found["MIN"] > 1:
            raise RecipeError(
                "the Slurm array has gaps or begins after 1, as with --array=0,3,7 or --array=3, so that it does not "
                "determine the shards; give the number of all shards: --shard $SLURM_ARRAY_TASK_ID/COUNT"
            )
        index = (found["ID"] - found["MIN"]) // step
        return cls._checked(f"{index}/{found['COUNT']}", "SLURM_ARRAY_TASK_ID and the other variables")

    @classmethod
    def _checked(cls, text: str, names: str) -> Self:
        try:
            return cls.read(text)
        except ValueError:
            raise RecipeError(f"{names} say {text}, which is no shard; give --shard INDEX/COUNT") from None
