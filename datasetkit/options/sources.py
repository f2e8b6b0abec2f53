"""Options of the sources, and the registry that names them. Owns their names, ranges and defaults.

The options of a source are the first argument of its class in ``datasetkit.sources``, and the command line of
``datasetkit build NAME``. A new source is one class of options here and one line in the registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, SerializeAsAny, model_validator

from datasetkit.core.addresses import hub_address
from datasetkit.core.paths import Place, as_place
from datasetkit.options.base import BEFORE, Commas, InstanceOptions, PartOf, PartOptions, Several, Typed, is_data
from datasetkit.runtime.registry import Builtin, Registry


def _place(value: object) -> Place:
    if not isinstance(value, str | Place):
        raise ValueError("give a path, or a URI as s3://bucket/prefix")  # noqa: TRY004 - what pydantic tells
    return as_place(value)


PlaceOption = Annotated[Place, PlainValidator(_place), Typed(metavar="PATH|URI")]
Places = Annotated[tuple[Annotated[Place, PlainValidator(_place)], ...], Commas, Typed("PATH|URI", is_argument=True)]


class SourceOptions(PartOptions):
    """What the pipeline asks of a source's options; a plug-in's own are a subclass."""

    preset: ClassVar[str | None] = None
    """Models that find the objects where none are named."""

    @property
    def has_objects(self) -> bool:
        """Whether the source knows what is in its images; whole records of a built dataset do not count here."""
        return False

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether an image without a description is kept."""
        return True


class InstanceSourceOptions(InstanceOptions, SourceOptions):
    """A source that was given as an object."""


class DescribedOptions(SourceOptions):
    """What sources have in common whose images may lack descriptions."""

    require_description: bool = False
    """Drop images without a description."""

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether an image without a description is kept."""
        return not self.require_description


def _check_encoding(value: str | None) -> str | None:
    if value is not None:
        try:
            "".encode(value)
        except (LookupError, ValueError):
            raise ValueError("there is no such encoding; give one as cp1252, latin-1, utf-16 or gbk") from None
    return value


class TextFileOptions(SourceOptions):
    """What sources have in common whose texts are in files of text."""

    encoding: Annotated[str | None, AfterValidator(_check_encoding)] = None
    """Encoding of text files, as cp1252.  [default: UTF-8, or by their byte-order mark]"""


class IgnoringOptions(SourceOptions):
    """What sources have in common that refuse texts and masks of which nothing would be made."""

    ignore: Annotated[tuple[str, ...], Several, Typed("NAME", is_repeatable=True)] = ()
    """Pass over a column, file, folder or ending (.txt) on purpose; repeatable."""


class AnnotatedOptions(DescribedOptions):
    """What sources have in common whose images may come with objects."""

    relabel: bool = False
    """Let the models of --preset replace the objects that the source has."""


class CocoOptions(AnnotatedOptions, TextFileOptions, IgnoringOptions):
    """Build from data in COCO's format: human masks, captions aligned to them."""

    name: Literal["coco"] = "coco"
    images: PlaceOption
    """Folder of the images."""
    instances: PlaceOption | None = None
    """COCO instances JSON: human masks."""
    captions: PlaceOption | None = None
    """COCO captions JSON."""
    caption: Literal["auto", "first", "longest", "all", "best-aligned"] = Field(
        default="auto", json_schema_extra={BEFORE: "first"}
    )
    """Which of an image's captions; all makes one record each. auto takes the first, but all of our own exports, whose
    records come back as they were."""
    crowds: Literal["auto", "keep", "instances", "ignore"] = Field(default="auto", json_schema_extra={BEFORE: "keep"})
    """What instances with iscrowd are: crowds (keep), single things (instances), or crowds whose masks are left out
    (ignore); auto keeps them, but takes them as single things where every instance has iscrowd, as CVAT exports it."""

    @model_validator(mode="after")
    def _check_files(self) -> CocoOptions:
        if self.instances is None and self.captions is None:
            raise ValueError("coco needs instances, captions or both")
        return self

    @property
    def has_objects(self) -> bool:
        """Whether there are instances."""
        return self.instances is not None

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether an image without a description is kept; without captions all are."""
        return self.captions is None or not self.require_description


class FolderOptions(IgnoringOptions, TextFileOptions, DescribedOptions):
    """Build from a folder of images, descriptions from its metadata files, or from a file of text for each image.

    Records of an export to imagefolder come back whole.
    """

    name: Literal["folder"] = "folder"
    folder: Annotated[Place, PlainValidator(_place), Typed("PATH|URI", is_argument=True)]
    """Folder of images, with metadata.jsonl, .csv or .parquet, or with NAME.txt next to NAME.jpg."""
    metadata: str | None = None
    """Name of the metadata files, as captions.csv.  [default: metadata.jsonl, .csv, .tsv or .parquet]"""
    file_column: str | None = None
    """Metadata column that names the images.  [default: file_name]"""
    caption_column: str | None = None
    """Metadata column with the text.  [default: description, caption or text]"""

    @property
    def is_plain(self) -> bool:
        """Whether no column is named, so that rows of an export come back as the records that they were."""
        return self.file_column is self.caption_column is None


class ToyworldOptions(SourceOptions):
    """Build from rendered scenes: descriptions and questions, objects found by the shipped models; no download.

    --preset none keeps the exact masks instead.
    """

    preset: ClassVar[str | None] = "toyworld"

    name: Literal["toyworld"] = "toyworld"
    count: int = Field(default=100, ge=1)
    """Number of scenes."""
    scene_split: Literal["train", "validation", "test"] = "train"
    """Which of the disjoint ranges of seeds."""
    size_px: int = Field(default=384, ge=64, le=1024)
    """Side of the square images, in pixels."""
    domain: Literal["base", "shifted"] = "base"
    """Words, caption style and backgrounds; shifted renames colours and shapes, for tuning experiments."""

    @property
    def has_objects(self) -> bool:
        """Every scene comes with all of its objects."""
        return True

    @property
    def may_lack_descriptions(self) -> bool:
        """Every scene has one."""
        return False


class TableOptions(IgnoringOptions, AnnotatedOptions):
    """What the sources of rows have in common.

    Where any column is named, rows of built datasets are read as plain rows, without their objects.
    """

    image_column: str | None = None
    """Column of the encoded images.  [default: found by its type and name]"""
    text_column: str | None = None
    """Column of the descriptions, or a path in one (sentences.raw).  [default: description, caption or text]"""
    id_column: str | None = None
    """Column of the records' ids.  [default: rows are numbered]"""

    @property
    def names_columns(self) -> bool:
        """Whether a column is named other than that of the descriptions, so that to have none is meant."""
        return not (self.image_column is self.id_column is None)


class ParquetOptions(TableOptions):
    """Build from rows with an image and a text; rows of a built folder come back as the records they were."""

    name: Literal["parquet"] = "parquet"
    files: Places = Field(min_length=1)
    """Parquet files, or folders of them; built folders, too."""


class HubOptions(TableOptions):
    """Build from a dataset on the Hub with images and texts; one that was built here comes back whole."""

    name: Literal["hub"] = "hub"
    repo: Annotated[str, Typed(is_argument=True)] = Field(pattern=r"^[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*$")
    """user/name of a dataset on the Hub, or its address; a revision in it counts as --revision."""
    config: str | None = None
    """Configuration, where there are several."""
    split: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*$")
    """Read this split only.  [default: all, each kept apart]"""
    revision: str | None = None
    """Branch, tag or commit.  [default: the newest; its commit is recorded]"""
    streaming: bool = False
    """Read rows as they are needed, without downloading all."""

    @model_validator(mode="before")
    @classmethod
    def _read_address(cls, values: Any) -> Any:
        """Take the name and the revision out of an address; every spelling of a commit makes the same build."""
        repo = values.get("repo") if isinstance(values, Mapping) else None
        address = hub_address(repo, "dataset") if isinstance(repo, str) else None
        if address is None:
            return values
        revision = address.at(values.get("revision")).revision
        return {**values, "repo": address.repo_id, **({} if revision is None else {"revision": revision})}


class WebdatasetOptions(IgnoringOptions, TextFileOptions, AnnotatedOptions):
    """Build from WebDataset shards: KEY.jpg with KEY.txt or KEY.json; nothing is unpacked."""

    name: Literal["webdataset"] = "webdataset"
    shards: Places = Field(min_length=1)
    """Tar files, folders of them, or 'part-{000..041}.tar'."""
    text_column: str | None = None
    """Key of KEY.json with the text.  [default: KEY.txt, else description, caption or text]"""
    text_member: str | None = None
    """Ending of the members with the text.  [default: txt, else caption]"""


class RowsOptions(InstanceSourceOptions, TableOptions):
    """Rows that were given as an object: a list of dictionaries, a datasets.Dataset, or a sequence of a plug-in."""

    @classmethod
    def of(cls, instance: Any) -> Self:
        """Hold rows; of data, which are nobody's class, there is no more to say."""
        options = super().of(instance)
        return options.model_copy(update={"name": "rows", "settings": ""}) if is_data(instance) else options


SOURCES = Registry(
    "source",
    {
        "coco": Builtin("datasetkit.sources.coco:CocoSource", CocoOptions),
        "folder": Builtin("datasetkit.sources.folder:FolderSource", FolderOptions),
        "hub": Builtin("datasetkit.sources.hub:HubSource", HubOptions),
        "parquet": Builtin("datasetkit.sources.parquet:ParquetSource", ParquetOptions),
        "toyworld": Builtin("datasetkit.sources.toyworld:ToyworldSource", ToyworldOptions),
        "webdataset": Builtin("datasetkit.sources.webdataset:WebdatasetSource", WebdatasetOptions),
    },
)
_KINDS = PartOf((SOURCES,), SourceOptions)
Source = Annotated[SerializeAsAny[SourceOptions], _KINDS]


def options_of_source(name: str) -> type[SourceOptions]:
    """Return the options class of a source by its name, or by its class as ``package.module:Class``."""
    found = _KINDS.options(name)
    return found if issubclass(found, SourceOptions) else SourceOptions


def guess_source(place: str | os.PathLike[str]) -> SourceOptions | None:
    """Return the source that reads a path, or a name on the Hub; None where nothing does."""
    path, text = Path(place), str(place)
    if (path / "manifest.json").is_file() or path.suffix == ".parquet":
        return ParquetOptions(files=(as_place(text),))
    if path.suffix == ".tar":
        return WebdatasetOptions(shards=(as_place(text),))
    if path.is_dir():
        return _guess_folder(path)
    return None if path.exists() or hub_address(text, "dataset") is None else HubOptions(repo=text)


def _guess_folder(path: Path) -> SourceOptions:
    names = [entry.name for entry in os.scandir(path)]
    if any(name.endswith(".parquet") and name != "metadata.parquet" for name in names):
        return ParquetOptions(files=(path,))
    if any(name.endswith(".tar") for name in names):
        return WebdatasetOptions(shards=(path,))
    return FolderOptions(folder=path)
