"""Options of the sources, and the registry of sources. Owns their names, ranges and defaults.

The options of a source are the first argument of its class in ``datasetkit.sources``, and the command line of
``datasetkit build NAME``. A new source is one class of options here and one line in the registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from datasetkit.core.addresses import hub_address
from datasetkit.core.paths import as_place
from datasetkit.options.base import (
    BEFORE,
    EITHER_OR_BOTH,
    AnyPlace,
    Commas,
    InstanceOptions,
    PartOf,
    PartOptions,
    Several,
    Typed,
    is_data,
)
from datasetkit.runtime.registry import Builtin, Registry

PlaceOption = Annotated[AnyPlace, Typed(metavar="PATH|URI")]
Places = Annotated[tuple[AnyPlace, ...], Commas, Typed("PATH|URI", is_argument=True)]


class SourceOptions(PartOptions):
    """What the pipeline needs to know of a source's options; the options of a plug-in are a subclass."""

    preset: ClassVar[str | None] = None
    """Preset of the models that find the objects, if the user names none."""

    @property
    def has_objects(self) -> bool:
        """Whether the source has objects; whole records of a built dataset do not count here."""
        return False

    @property
    def aligns_rest(self) -> bool:
        """Whether phrases are aligned where the data link others of the text."""
        return False

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether images without a description are kept."""
        return True


class InstanceSourceOptions(InstanceOptions, SourceOptions):
    """A source given as an object."""


class DescribedOptions(SourceOptions):
    """Options of sources whose images may lack descriptions."""

    require_description: Annotated[bool, Typed(flag="--require-description/--no-require-description")] = False
    """Drop images without a description."""

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether images without a description are kept."""
        return not self.require_description


def _check_encoding(value: str | None) -> str | None:
    if value is not None:
        try:
            "".encode(value)
        except (LookupError, ValueError):
            raise ValueError("there is no such encoding; give one such as cp1252, latin-1, utf-16 or gbk") from None
    return value


class TextFileOptions(SourceOptions):
    """Options of sources that read text files."""

    encoding: Annotated[str | None, AfterValidator(_check_encoding)] = None
    """Encoding of text files, such as cp1252.  [default: UTF-8, or as their byte-order mark says]"""


class IgnoringOptions(SourceOptions):
    """Options of sources that refuse texts and masks that the build would not use."""

    ignore: Annotated[tuple[str, ...], Several, Typed("NAME", is_repeatable=True)] = ()
    """Column, file, folder or file extension (.txt) to leave unused on purpose; repeatable."""


class AnnotatedOptions(DescribedOptions):
    """Options of sources whose images may come with objects."""

    relabel: bool = False
    """Replace the objects of the source by those that the models of --preset find."""


class CocoOptions(AnnotatedOptions, TextFileOptions, IgnoringOptions):
    """Build from COCO data: human masks, and captions aligned to them."""

    name: Literal["coco"] = "coco"
    images: PlaceOption
    """Folder of the images."""
    instances: PlaceOption | None = None
    """COCO instances JSON, with human masks."""
    captions: PlaceOption | None = None
    """COCO captions JSON."""
    caption: Literal["auto", "first", "longest", "all", "best-aligned"] = Field(
        default="auto", json_schema_extra={BEFORE: "first"}
    )
    """Captions to use per image; all yields one record per caption. auto uses the first one, except in exports of
    datasetkit, whose records are restored with all."""
    crowds: Literal["auto", "keep", "instances", "ignore"] = Field(default="auto", json_schema_extra={BEFORE: "keep"})
    """Meaning of iscrowd: crowds (keep), single objects (instances), or crowds whose masks are left out (ignore). auto
    means keep, or, if every instance has iscrowd, as in CVAT's exports, instances."""

    @model_validator(mode="after")
    def _check_files(self) -> CocoOptions:
        if self.instances is None and self.captions is None:
            fields = {"first": "instances", "second": "captions"}
            raise PydanticCustomError("either_or_both", EITHER_OR_BOTH, fields)
        return self

    @property
    def has_objects(self) -> bool:
        """Whether there are instances."""
        return self.instances is not None

    @property
    def may_lack_descriptions(self) -> bool:
        """Whether images without a description are kept; without captions all are."""
        return self.captions is None or not self.require_description


class FromOptions(AnnotatedOptions, TextFileOptions):
    """Build from data in any known format, found from the content: masks, boxes, texts and links as they are."""

    name: Literal["from"] = "from"
    place: Annotated[AnyPlace, Typed("PATH|URI", is_argument=True)]
    """File or folder; `datasetkit formats` lists the formats."""
    images: PlaceOption | None = None
    """Folder of the images, if they are not beside or below.  [default: PATH, or its folder]"""
    captions: PlaceOption | None = None
    """Further file with the descriptions, such as COCO captions for LVIS."""
    format: str | None = None
    """Format of the data.  [default: found from the content]"""
    caption: Literal["first", "longest", "all", "best-aligned"] = "first"
    """Descriptions to use per image; all yields one record per description. best-aligned takes the one that names most
    objects, so that recall measured on the dataset is too high."""
    align_rest: bool = False
    """Align the phrases that the data do not link, where they link others of the text."""

    @property
    def has_objects(self) -> bool:
        """Whether all images have been searched for objects: only the data of some formats have."""
        return False

    @property
    def aligns_rest(self) -> bool:
        """Whether phrases are aligned where the data link others of the text."""
        return self.align_rest


class FolderOptions(IgnoringOptions, TextFileOptions, DescribedOptions):
    """Build from a folder of images, with descriptions in metadata files or in one text file per image.

    Records exported to imagefolder are restored in full.
    """

    name: Literal["folder"] = "folder"
    folder: Annotated[AnyPlace, Typed("PATH|URI", is_argument=True)]
    """Folder of images, with metadata.jsonl, .csv or .parquet, or with NAME.txt next to NAME.jpg."""
    metadata: str | None = None
    """Name of the metadata files, such as captions.csv.  [default: metadata.jsonl, .csv, .tsv or .parquet]"""
    file_column: str | None = None
    """Metadata column that names the images.  [default: file_name]"""
    caption_column: str | None = None
    """Metadata column with the text.  [default: description, caption or text]"""

    @property
    def is_plain(self) -> bool:
        """Whether no column is named, so that rows of an export are restored as records."""
        return self.file_column is self.caption_column is None


class ToyworldOptions(SourceOptions):
    """Build from rendered scenes with descriptions and questions; shipped models find the objects, without a download.

    --preset none keeps the exact masks of the scenes instead.
    """

    preset: ClassVar[str | None] = "toyworld"

    name: Literal["toyworld"] = "toyworld"
    count: int = Field(default=100, ge=1)
    """Number of scenes."""
    scene_split: Literal["train", "validation", "test"] = "train"
    """Range of scene seeds; the three ranges are disjoint."""
    size_px: int = Field(default=384, ge=64, le=1024)
    """Side length of the square images, in pixels."""
    domain: Literal["base", "shifted"] = "base"
    """Domain of the scenes: words, caption style and backgrounds. shifted renames colours and shapes, for tuning
    experiments."""

    @property
    def has_objects(self) -> bool:
        """True: every scene comes with all of its objects."""
        return True

    @property
    def may_lack_descriptions(self) -> bool:
        """False: every scene has a description."""
        return False


class TableOptions(IgnoringOptions, AnnotatedOptions):
    """Options of sources that read rows.

    If any column is named, rows of built datasets are read as plain rows, without their objects.
    """

    image_column: str | None = None
    """Column of the images, as encoded files.  [default: found by its type and name]"""
    text_column: str | None = None
    """Column of the descriptions, or a path into a nested one (sentences.raw).  [default: description, caption or
    text]"""
    id_column: str | None = None
    """Column of the record ids.  [default: row numbers]"""

    @property
    def names_columns(self) -> bool:
        """Whether another column than that of the descriptions is named, so that records without text are intended."""
        return not (self.image_column is self.id_column is None)


class ParquetOptions(TableOptions):
    """Build from Parquet rows with an image and a text; rows of a built folder are restored as records."""

    name: Literal["parquet"] = "parquet"
    files: Places = Field(min_length=1)
    """Parquet files, or folders of them, including built folders."""


class HubOptions(TableOptions):
    """Build from a dataset on the Hub with images and texts; one that datasetkit built is restored in full."""

    name: Literal["hub"] = "hub"
    repo: Annotated[str, Typed(is_argument=True)] = Field(pattern=r"^[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*$")
    """Dataset on the Hub, as user/name or URL; a revision in the URL counts as --revision."""
    config: str | None = None
    """Dataset configuration, if there are several."""
    split: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*$")
    """Read this split only.  [default: all splits, kept separate]"""
    revision: str | None = None
    """Dataset revision: branch, tag or commit.  [default: the newest commit, which is recorded]"""
    streaming: bool = False
    """Stream rows as they are needed, instead of downloading the dataset first."""

    @model_validator(mode="before")
    @classmethod
    def _read_address(cls, values: Any) -> Any:
        """Read name and revision from a URL; every spelling of a commit makes the same build."""
        repo = values.get("repo") if isinstance(values, Mapping) else None
        address = hub_address(repo, "dataset") if isinstance(repo, str) else None
        if address is None:
            return values
        revision = address.at(values.get("revision")).revision
        return {**values, "repo": address.repo_id, **({} if revision is None else {"revision": revision})}


class WebdatasetOptions(IgnoringOptions, TextFileOptions, AnnotatedOptions):
    """Build from WebDataset shards: KEY.jpg with KEY.txt or KEY.json, read without unpacking."""

    name: Literal["webdataset"] = "webdataset"
    shards: Places = Field(min_length=1)
    """Tar files, folders of them, or a range such as 'part-{000..041}.tar'."""
    text_column: str | None = None
    """Key of the text in KEY.json.  [default: KEY.txt, else description, caption or text]"""
    text_member: str | None = None
    """Extension of the text files in the shards.  [default: txt, else caption]"""


class RowsOptions(InstanceSourceOptions, TableOptions):
    """Rows given as an object: a list of dictionaries, a datasets.Dataset, or a plug-in's sequence."""

    @classmethod
    def of(cls, instance: Any) -> Self:
        """Wrap rows; plain data have neither a class to name nor settings."""
        options = super().of(instance)
        return options.model_copy(update={"name": "rows", "settings": ""}) if is_data(instance) else options


SOURCES = Registry(
    "source",
    {
        "coco": Builtin("datasetkit.sources.coco:CocoSource", CocoOptions),
        "folder": Builtin("datasetkit.sources.folder:FolderSource", FolderOptions),
        "from": Builtin("datasetkit.sources.given.source:open_given", FromOptions),
        "hub": Builtin("datasetkit.sources.hub:HubSource", HubOptions),
        "parquet": Builtin("datasetkit.sources.parquet:ParquetSource", ParquetOptions),
        "toyworld": Builtin("datasetkit.sources.toyworld:ToyworldSource", ToyworldOptions),
        "webdataset": Builtin("datasetkit.sources.webdataset:WebdatasetSource", WebdatasetOptions),
    },
)
_FORMATS = "datasetkit.sources.given.formats"
READERS = Registry(
    "reader",
    {
        "boxes-coco": Builtin(f"{_FORMATS}.boxes_coco:BoxesReader"),
        "built": Builtin(f"{_FORMATS}.built:BuiltData"),
        "coco": Builtin(f"{_FORMATS}.coco:CocoData"),
        "coco-panoptic": Builtin(f"{_FORMATS}.coco_panoptic:PanopticReader"),
        "cvat": Builtin(f"{_FORMATS}.cvat:CvatReader"),
        "flickr30k-entities": Builtin(f"{_FORMATS}.flickr30k_entities:EntitiesReader"),
        "folder": Builtin(f"{_FORMATS}.folder:FolderReader"),
        "grand-f": Builtin(f"{_FORMATS}.grand_f:GrandReader"),
        "grit": Builtin(f"{_FORMATS}.grit:GritReader"),
        "image-masks": Builtin(f"{_FORMATS}.image_masks:MasksReader"),
        "karpathy": Builtin(f"{_FORMATS}.karpathy:KarpathyReader"),
        "label-studio": Builtin(f"{_FORMATS}.label_studio:LabelStudioReader"),
        "labelme": Builtin(f"{_FORMATS}.labelme:LabelmeReader"),
        "llava": Builtin(f"{_FORMATS}.llava:LlavaReader"),
        "lvis": Builtin(f"{_FORMATS}.lvis:LvisReader"),
        "mdetr": Builtin(f"{_FORMATS}.mdetr:MdetrReader"),
        "odvg": Builtin(f"{_FORMATS}.odvg:OdvgReader"),
        "open-images": Builtin(f"{_FORMATS}.open_images:OpenImagesReader"),
        "parquet": Builtin(f"{_FORMATS}.parquet:ParquetReader"),
        "phrasecut": Builtin(f"{_FORMATS}.phrasecut:PhraseCutReader"),
        "pixmo-points": Builtin(f"{_FORMATS}.pixmo_points:PixmoReader"),
        "refcoco": Builtin(f"{_FORMATS}.refcoco:RefcocoReader"),
        "sa-1b": Builtin(f"{_FORMATS}.sa1b:Sa1bReader"),
        "vg-regions": Builtin(f"{_FORMATS}.vg_regions:RegionsReader"),
        "voc": Builtin(f"{_FORMATS}.voc:VocReader"),
        "webdataset": Builtin(f"{_FORMATS}.webdataset:WebdatasetReader"),
        "yolo": Builtin(f"{_FORMATS}.yolo:YoloReader"),
    },
)
_KINDS = PartOf((SOURCES,), SourceOptions)
Source = Annotated[SerializeAsAny[SourceOptions], _KINDS]


def options_of_source(name: str) -> type[SourceOptions]:
    """Return the options class of a source, given by name or as ``package.module:Class``."""
    found = _KINDS.options(name)
    return found if issubclass(found, SourceOptions) else SourceOptions


def guess_source(place: str | os.PathLike[str]) -> SourceOptions | None:
    """Return options of the source that reads a path, or a name on the Hub; None where none does."""
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
