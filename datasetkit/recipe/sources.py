"""Options of the sources. Owns their names, ranges and defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from datasetkit.recipe.options import Options


class CocoOptions(Options):
    """Options of the source ``coco``.

    Args:
        images: folder of the pictures.
        instances: COCO instances JSON.
        captions: COCO captions JSON.
        caption: which of a picture's captions becomes the description.
        require_description: whether a picture without a caption is dropped.

    """

    name: Literal["coco"] = "coco"
    images: Path
    instances: Path | None = None
    captions: Path | None = None
    caption: Literal["first", "longest", "all", "best-aligned"] = "first"
    require_description: bool = True

    @property
    def has_objects(self) -> bool:
        """Whether the source says what is in its pictures."""
        return self.instances is not None

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether a picture without a description is kept."""
        return not self.require_description


class FolderOptions(Options):
    """Options of the source ``folder``.

    Args:
        folder: where the pictures and their metadata files are.
        caption_column: metadata column with the description; None takes description, caption or text.
        require_description: whether a picture without a description is dropped.

    """

    name: Literal["folder"] = "folder"
    folder: Path
    caption_column: str | None = None
    require_description: bool = False

    @property
    def has_objects(self) -> bool:
        """A folder says nothing of what is in its pictures."""
        return False

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether a picture without a description is kept."""
        return not self.require_description


class ToyworldOptions(Options):
    """Options of the source ``toyworld``.

    Args:
        count: how many scenes.
        scene_split: which of the disjoint ranges of seeds they are drawn from.
        size_px: side of the square pictures.
        domain: words, caption style and backgrounds.

    """

    name: Literal["toyworld"] = "toyworld"
    count: int = Field(default=100, ge=1)
    scene_split: Literal["train", "validation", "test"] = "train"
    size_px: int = Field(default=384, ge=64, le=1024)
    domain: Literal["base", "shifted"] = "base"

    @property
    def has_objects(self) -> bool:
        """Every scene comes with all of its objects."""
        return True

    @property
    def may_lack_descriptions(self) -> bool:
        """Every scene has one."""
        return False
