"""Options of the sources. Owns their names, ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from datasetkit.core.paths import Place, as_place
from datasetkit.options.base import Options


def _place(value: object) -> Place:
    if not isinstance(value, str | Place):
        raise ValueError("give a path, or an address as s3://bucket/prefix")  # noqa: TRY004 - what pydantic tells
    return as_place(value)


PlaceOption = Annotated[Place, PlainValidator(_place)]


class CocoOptions(Options):
    """Options of the source ``coco``.

    Args:
        images: folder of the pictures.
        instances: COCO instances JSON.
        captions: COCO captions JSON.
        caption: which of a picture's captions becomes the description.
        require_description: whether a picture without a caption is dropped; without captions none is.

    """

    name: Literal["coco"] = "coco"
    images: PlaceOption
    instances: PlaceOption | None = None
    captions: PlaceOption | None = None
    caption: Literal["first", "longest", "all", "best-aligned"] = "first"
    require_description: bool = True

    @property
    def has_objects(self) -> bool:
        """Whether the source says what is in its pictures."""
        return self.instances is not None

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether a picture without a description is kept."""
        return self.captions is None or not self.require_description


class FolderOptions(Options):
    """Options of the source ``folder``.

    Args:
        folder: where the pictures and their metadata files are.
        caption_column: metadata column with the description; None takes description, caption or text.
        require_description: whether a picture without a description is dropped.

    """

    name: Literal["folder"] = "folder"
    folder: PlaceOption
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


class TableOptions(Options):
    """What the sources of rows have in common.

    Args:
        image_column: encoded pictures; None finds the column by its type and name.
        text_column: descriptions; None takes description, caption or text.
        id_column: records' ids; None numbers the rows. Where any column is named, rows of built datasets are read as
            plain rows, without their objects.
        require_description: whether a row without a description is dropped.
        relabel: whether models may replace the objects of a built dataset.

    """

    image_column: str | None = None
    text_column: str | None = None
    id_column: str | None = None
    require_description: bool = False
    relabel: bool = False

    @property
    def has_objects(self) -> bool:
        """Whether rows say what is in their pictures; those that do are records already, and not asked again."""
        return False

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether a row without a description is kept."""
        return not self.require_description


class ParquetOptions(TableOptions):
    """Options of the source ``parquet``.

    Args:
        files: Parquet files, or folders of them; built folders, too.

    """

    name: Literal["parquet"] = "parquet"
    files: tuple[PlaceOption, ...] = Field(min_length=1)


class HubOptions(TableOptions):
    """Options of the source ``hub``.

    Args:
        repo: user/name of a dataset on the Hub.
        config: name of the configuration; None for the only one.
        split: the one split that is read; None for all.
        revision: branch, tag or commit; None for the default branch.
        streaming: whether rows are read in order as they are needed, instead of downloaded first.

    """

    name: Literal["hub"] = "hub"
    repo: str = Field(pattern=r"^[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*$")
    config: str | None = None
    split: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*$")
    revision: str | None = None
    streaming: bool = False


class WebdatasetOptions(Options):
    """Options of the source ``webdataset``.

    Args:
        shards: tar files, folders of them, or names with braces as part-{000..041}.tar.
        text_column: key of KEY.json with the description; None takes KEY.txt, else description, caption or text there.
            Where it is named, exported records are read as plain samples, without their objects.
        require_description: whether a sample without a description is dropped.
        relabel: whether models may replace the objects of an exported dataset.

    """

    name: Literal["webdataset"] = "webdataset"
    shards: tuple[PlaceOption, ...] = Field(min_length=1)
    text_column: str | None = None
    require_description: bool = False
    relabel: bool = False

    @property
    def has_objects(self) -> bool:
        """Whether samples say what is in their pictures; those that do are records already, and not asked again."""
        return False

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether a sample without a description is kept."""
        return not self.require_description
