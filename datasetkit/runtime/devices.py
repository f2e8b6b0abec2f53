"""Where models run, and how many pictures they take at once. Owns the choice of a device; torch is asked only then."""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.core.errors import ModelError

_BATCHES_A_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Placement:
    """Where models run; none of it is part of a recipe.

    Args:
        device: as torch names it, or ``auto``: CUDA where there is one, else MPS, else the CPU.
        captioner_batch: pictures that the captioner is given at once.
        detector_batch: the same for the detector.
        segmenter_batch: the same for the segmenter.

    """

    device: str = "auto"
    captioner_batch: int = 8
    detector_batch: int = 8
    segmenter_batch: int = 8

    @property
    def torch_device(self) -> str:
        """The device's name for torch.

        Raises:
            ModelError: torch knows or has no such device.

        """
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            first = str(error).strip().split("\n")[0]
            why = "torch knows no such device" if first.startswith("Expected one of") else first
            raise ModelError(f"device {self.device!r} cannot be used ({why}); give auto, cpu, cuda or mps") from error
        return self.device

    @property
    def window(self) -> int:
        """How many pictures are read before the models are asked: some batches, to find pictures of one size among."""
        return _BATCHES_A_WINDOW * max(self.captioner_batch, self.detector_batch, self.segmenter_batch)
