"""Options of the commands on a built dataset. Owns their names, ranges, defaults and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.options.base import Options, Several, Typed


def _local(value: object) -> object:
    place = as_place(value) if isinstance(value, str) else value
    if isinstance(place, RemotePath):
        raise BuiltFolderError(f"{place} is not a folder on this machine; of a dataset elsewhere only verify works")
    return place


class BuiltOptions(Options):
    """Which dataset."""

    folder: Annotated[Path, BeforeValidator(_local), Typed("FOLDER", is_argument=True)]
    """Folder that `datasetkit build` wrote."""


class VerifyOptions(Options):
    """Which dataset, wherever it is."""

    dataset: Annotated[str, Typed("FOLDER|USER/NAME[@REVISION]|URI", is_argument=True)]
    """Folder that `datasetkit build` wrote, or where it is published: on the Hub, or at s3://bucket/prefix."""


class PreviewOptions(BuiltOptions):
    """What the page shows, and where it is."""

    out: Annotated[Path | None, Typed("FILE")] = None
    """HTML file to write.  [default: FOLDER.html next to FOLDER]"""
    limit: int = Field(default=200, ge=1)
    """Show the first N records."""


class ExportOptions(BuiltOptions):
    """What is exported, and where to."""

    destination: Annotated[str, Typed("DEST", is_argument=True)]
    """Folder to write, here or at s3://bucket/prefix."""
    to: Annotated[str, Typed("FORMAT")]
    """Format: coco, imagefolder, labelstudio, webdataset, or yolo-seg."""
    split: str | None = None
    """The one split to export.  [default: all]"""
    overwrite: bool = False
    """Replace an earlier export in DEST."""


class PushOptions(BuiltOptions):
    """What is published where, and how."""

    folder: Annotated[Path, BeforeValidator(_local), Typed("FOLDER", is_argument=True)]
    """Folder that `datasetkit build` wrote; with --adapter, of a tuned adapter."""
    repository: Annotated[str, Typed("USER/NAME|URI", is_argument=True)]
    """Repository on the Hub, by name or address, or s3://bucket/prefix."""
    adapter: bool = False
    """Publish an adapter as a model repository on the Hub."""
    private: Annotated[bool | None, Typed(flag="--private/--public")] = None
    """Who may see a new repository.  [default: as the Hub has it]"""
    revision: Annotated[str | None, Typed("BRANCH")] = None
    """Branch to push to; made if it is not there.  [default: main]"""
    tag: str | None = None
    """Tag for the new commit; one of another commit is an error."""
    token: SecretStr | None = None
    """Token for the Hub; it is never shown.  [default: HF_TOKEN, or the one that `hf auth login` stored]"""
    commit_message: str | None = Field(default=None, min_length=1)
    """Title of the commit.  [default: what is pushed]"""
    create_pr: bool = False
    """Propose the commit as a pull request to main, and print its URL."""
    replace: Annotated[tuple[str, ...], Several, Typed("PATH", is_repeatable=True)] = ()
    """Replace this file there, though no push of datasetkit wrote it; repeatable."""
    dry_run: bool = False
    """Print what would be sent, and send nothing; public repositories are read without a token."""
