"""Options of the commands for a built dataset. Owns their names, ranges, defaults and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from datasetkit.core.errors import BuiltFolderError
from datasetkit.options.base import AnyPlace, Options, Several, Typed, local_only
from datasetkit.options.engines import WorkerOptions

_BuiltFolder = Annotated[
    Path,
    local_only(
        lambda path: BuiltFolderError(
            f"{path} is not a folder on this machine; only verify and push read remote datasets"
        )
    ),
    Typed("FOLDER", is_argument=True),
]


class BuiltOptions(Options):
    """The dataset."""

    folder: _BuiltFolder
    """Folder that `datasetkit build` wrote."""


class VerifyOptions(WorkerOptions):
    """The dataset, local or remote, and the workers that check it."""

    panel: ClassVar[str | None] = None

    dataset: Annotated[str, Typed("FOLDER|USER/NAME[@REVISION]|URI", is_argument=True)]
    """Folder that `datasetkit build` wrote, or a published dataset: a Hub repository, or s3://bucket/prefix."""


class PreviewOptions(BuiltOptions):
    """Content and path of the preview page."""

    out: Annotated[Path | None, Typed("FILE")] = None
    """HTML file to write.  [default: FOLDER.html next to FOLDER]"""
    limit: int = Field(default=200, ge=1)
    """Largest number of records to show; those of a larger dataset are spread over it."""


class ExportOptions(BuiltOptions, WorkerOptions):
    """What to export, and where to."""

    panel: ClassVar[str | None] = None

    destination: Annotated[str, Typed("DEST", is_argument=True)]
    """Output folder, local or s3://bucket/prefix."""
    to: Annotated[str, Typed("FORMAT")]
    """Export format: coco, imagefolder, labelstudio, webdataset, or yolo-seg."""
    split: str | None = None
    """Export this split only.  [default: all]"""
    overwrite: bool = False
    """Replace an earlier export in DEST."""


class PushOptions(Options):
    """What to publish, where and how."""

    folder: Annotated[AnyPlace, Typed("FOLDER|URI", is_argument=True)]
    """Folder or URI that `datasetkit build` wrote, or, with --adapter, the folder of a tuned adapter."""
    repository: Annotated[str, Typed("USER/NAME|URI", is_argument=True)]
    """Hub repository, by name or URL, or s3://bucket/prefix."""
    adapter: bool = False
    """Publish an adapter as a model repository on the Hub."""
    private: Annotated[bool | None, Typed(flag="--private/--public")] = None
    """Visibility of a new repository.  [default: set by the Hub]"""
    revision: Annotated[str | None, Typed("BRANCH")] = None
    """Branch to push to; created if missing.  [default: main]"""
    tag: str | None = None
    """Tag for the new commit; a tag that exists on another commit is an error."""
    token: SecretStr | None = None
    """Hub token; never shown or logged.  [default: HF_TOKEN, or the one that `hf auth login` stored]"""
    commit_message: str | None = Field(default=None, min_length=1)
    """Commit title.  [default: names what is pushed]"""
    create_pr: bool = False
    """Propose the commit as a pull request to main, and print its URL."""
    replace: Annotated[tuple[str, ...], Several, Typed("PATH", is_repeatable=True)] = ()
    """Replace this file in the repository even if datasetkit did not write it; repeatable."""
    dry_run: bool = False
    """Print what would be sent, without sending it; public repositories need no token."""
