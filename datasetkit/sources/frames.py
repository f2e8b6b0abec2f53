"""What boxes and masks refer to: an image as it is stored, or upright. Owns the choice by the size that data state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import LoadedImage
from datasetkit.core.ledger import DropReason, NoticeKind


@dataclass(frozen=True, slots=True)
class Frame:
    """What boxes and masks refer to: an image of this size, and the EXIF orientation to apply to them."""

    size_hw: tuple[int, int]
    turn: int


def frame_of(size_wh: Sequence[int | None], loaded: LoadedImage) -> tuple[Frame, list[NoticeKind]]:
    """Return what coordinates refer to, and notices; a side that is not stated fits any image.

    Raises:
        UnusableError: ``size_mismatch``; the stated size is that of another image.

    """
    stated = (size_wh[1], size_wh[0])
    known = [(place, side) for place, side in enumerate(stated) if side is not None and side > 0]
    notices = [NoticeKind.SIZE_UNKNOWN] if len(known) < len(stated) else []
    raw_hw, upright_hw = loaded.raw_size_hw, loaded.encoded.size_hw
    fits_upright = all(upright_hw[place] == side for place, side in known)
    if all(raw_hw[place] == side for place, side in known):
        if loaded.orientation != 1 and fits_upright:
            notices.append(NoticeKind.MASK_FRAME_ASSUMED_RAW)
        return Frame(raw_hw, loaded.orientation), notices
    if fits_upright:
        return Frame(upright_hw, 1), notices
    height, width = upright_hw
    raise UnusableError(
        DropReason.SIZE_MISMATCH,
        f"the masks are for {size_wh[0]}x{size_wh[1]} px, the image {loaded.encoded.name} has {width}x{height} px",
    )
