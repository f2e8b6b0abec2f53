"""A built dataset in Python. Owns its methods: check, view, export and publish it."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasetkit.core.addresses import HubAddress, check_written, hub_address
from datasetkit.core.errors import BuiltFolderError, DatasetkitError, HubError, OutputError
from datasetkit.core.files import real_path
from datasetkit.core.pages import check_page
from datasetkit.core.paths import Place, as_place, path_text
from datasetkit.core.remote import RemotePath
from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.export.dataset.manifest import (
    CARD_NAME,
    LEDGER_NAME,
    MANIFEST_NAME,
    RECIPE_NAME,
    STATISTICS_NAME,
    Manifest,
)
from datasetkit.options.dataset import PreviewOptions, PushOptions
from datasetkit.runtime.progress import OnProgress
from datasetkit.runtime.stages.timers import Snapshot

if TYPE_CHECKING:
    from datasetkit.export.formats.result import ExportResult
    from datasetkit.export.publish.hub.results import Plan, Pushed
    from datasetkit.export.publish.publishing import StorePush
    from datasetkit.export.statistics.tables import StatisticsReport
    from datasetkit.export.verification.faults import Verification
    from datasetkit.export.verification.files import DatasetFiles

_OURS = {MANIFEST_NAME, LEDGER_NAME, STATISTICS_NAME, RECIPE_NAME, ".build"}
_THUMBNAIL_PX = 200


@dataclass(frozen=True, slots=True)
class Page(Result):
    """A page that was written.

    Args:
        shown: number of records on the page; None for a card.

    """

    path: Path
    shown: int | None = None
    total: int | None = None

    def report(self) -> Iterator[str]:
        """Yield one line with the path of the page."""
        yield f"wrote {self.path}" + ("" if self.shown is None else f" ({self.shown} of {self.total} records)")


class Built(Result):
    """A dataset that ``datasetkit build`` wrote; made by :func:`datasetkit.open` and :func:`datasetkit.build`.

    Args:
        path: folder of the dataset, or, if it is published, its URI or name on the Hub.
        work: of each stage of the build that returned this; None if it built nothing.

    """

    def __init__(self, path: Path | RemotePath | HubAddress, work: Snapshot | None = None) -> None:
        self.path = path
        self.work = work

    @cached_property
    def manifest(self) -> Manifest:
        """Contents and origin of the dataset; downloaded if it is published.

        Raises:
            DatasetkitError: there is no manifest, or datasetkit did not write it.

        """
        if not isinstance(self.path, HubAddress):
            return Manifest.read(self.path)
        with self._files() as files:
            return Manifest.read(files.papers)

    @property
    def split_rows(self) -> dict[str, int]:
        """Number of records per split."""
        return self.manifest.split_rows

    def __len__(self) -> int:
        """Return the number of records."""
        return sum(self.split_rows.values())

    def __repr__(self) -> str:
        if not isinstance(self.path, Path):
            return f"Built({str(self.path)!r}: published)"
        try:
            manifest = self.manifest
        except DatasetkitError as error:
            return f"Built({str(self.path)!r}: {error})"
        splits = ", ".join(f"{split} {rows:,}" for split, rows in manifest.split_rows.items())
        return f"Built({str(self.path)!r}: {counted(len(self), 'record')}; {splits or 'no split'})"

    def _repr_html_(self) -> str:
        """Return the summary of the build and some images with their key objects, as HTML."""
        if not isinstance(self.path, Path):
            return f"<pre>{html.escape(repr(self))}</pre>"
        from datasetkit.export.card.samples import thumbnails

        images = "".join(
            f'<img src="data:image/jpeg;base64,{base64.b64encode(data).decode()}" alt="{html.escape(text)}" '
            'style="margin:2px;display:inline-block">'
            for data, text in thumbnails(self.path, self.manifest, _THUMBNAIL_PX)
        )
        return f"{super()._repr_html_()}<div>{images}</div>"

    def __fspath__(self) -> str:
        """Return the path of the folder, so that a build can be used as a path."""
        return str(self.path)

    def report(self) -> Iterator[str]:
        """Yield the summary that ``datasetkit build`` prints: counts, drops with their reasons, hints."""
        from datasetkit.export.card.summary import summary_lines

        yield from summary_lines(self._folder if isinstance(self.path, HubAddress) else self.path, self.manifest)

    def as_json(self) -> dict[str, Any]:
        """Return the counts of what was read, kept, dropped and passed over, and the work of a build's stages."""
        from datasetkit.export.card.summary import may_pass_later

        manifest = self.manifest
        return {
            "path": str(self.path),
            "records": len(self),
            "splits": manifest.split_rows,
            "tally": manifest.tally.to_json(),
            "passed_over": [item.to_json() for item in manifest.passed_over],
            "schema_version": manifest.schema_version,
            "code_version": manifest.code_version,
            **({} if isinstance(self.path, HubAddress) else {"may_pass_later": may_pass_later(self.path, manifest)}),
            **({} if self.work is None else {"work": self.work.as_json()}),
        }

    def verify(self, *, on_progress: OnProgress | None = None, **workers: Any) -> Verification:
        """Check every shard, image, mask, span, id and count; also of a published dataset.

        Example:
            >>> dk.open("out").verify(workers=2).is_sound
            True

        Args:
            on_progress: called with the stage, the number of finished rows, and their total number.
            **workers: ``workers``, ``engine`` and ``ray_address``; see
                :class:`~datasetkit.options.engines.WorkerOptions`. Published datasets are checked in this process.

        Raises:
            BuiltFolderError: datasetkit did not write it.
            RecipeError: there is no such option.
            HubError, OSError: a published dataset cannot be downloaded.
            EngineError: no worker can be kept alive.

        """
        from datasetkit.export.verification.faults import Verification
        from datasetkit.export.verification.verify import verify_files
        from datasetkit.options.engines import WorkerOptions

        options = WorkerOptions.checked(workers)
        with self._files() as files:
            return Verification(str(self.path), tuple(verify_files(files, on_progress, options)))

    def stats(self) -> StatisticsReport:
        """Compute statistics of the shards, and write plots to ``assets``.

        Example:
            >>> dk.open("out").stats().statistics.total.objects
            23

        Raises:
            BuiltFolderError: a shard cannot be read.

        """
        from datasetkit.export.statistics.counter import compute_statistics
        from datasetkit.export.statistics.plots import write_plots
        from datasetkit.export.statistics.tables import StatisticsReport

        statistics = compute_statistics(self._folder, self.manifest)
        return StatisticsReport(statistics, write_plots(statistics, self._folder))

    def preview(self, out: str | os.PathLike[str] | None = None, limit: int = 200) -> Page:
        """Write one self-contained HTML page with images, masks and descriptions.

        Example:
            >>> dk.open("out").preview(limit=50).path
            PosixPath('out.html')

        Args:
            out: the file to write; None writes FOLDER.html next to the folder.
            limit: largest number of records to show; those of a larger dataset are spread over it.

        Raises:
            BuiltFolderError: a shard cannot be read.

        """
        to = None if out is None else path_text(out)
        options = PreviewOptions.checked({"folder": self._folder, "out": to, "limit": limit})
        folder, total, name = options.folder, len(self), options.folder.resolve().name
        destination = options.out or folder.parent / f"{name}.html"
        if real_path(destination).is_relative_to(real_path(folder)):
            raise OutputError(f"{destination} is inside the dataset folder; give another --out")
        check_page(destination, f"{name}.html")
        from datasetkit.export.dataset.reading import naming_row
        from datasetkit.export.preview.cards import PreviewCards
        from datasetkit.export.preview.excerpt import spread_records
        from datasetkit.export.preview.page import write_preview

        cards = PreviewCards()
        for where, record in spread_records(folder, self.manifest, options.limit):
            with naming_row(where):
                cards.add(record)
        return Page(destination, write_preview(cards, destination, name, total), total)

    def card(self) -> Page:
        """Rewrite the dataset card from manifest and statistics; sections that users added are kept.

        Example:
            >>> dk.open("out").card().path
            PosixPath('out/README.md')

        Raises:
            BuiltFolderError: manifest, statistics or the card's front matter cannot be read.

        """
        folder, _ = self._folder, self.manifest  # refused before the slow imports that follow
        from datasetkit.export.card.describe import update_card
        from datasetkit.pipeline.records import REASON_MEANINGS

        update_card(folder, REASON_MEANINGS)
        return Page(folder / CARD_NAME)

    def export(
        self,
        to: str,
        destination: str | os.PathLike[str],
        split: str | None = None,
        overwrite: bool = False,
        *,
        on_progress: OnProgress | None = None,
        **workers: Any,
    ) -> ExportResult:
        """Export the dataset to another format, and count what that format cannot represent.

        Example:
            >>> dk.open("out").export("coco", "out-coco", split="train").objects
            23

        Args:
            to: coco, imagefolder, labelstudio, webdataset or yolo-seg.
            destination: output folder, local or a URI.
            split: the only split to export; None for all.
            overwrite: whether to replace an earlier export in the destination.
            on_progress: called with the stage, the number of finished records, and their total number.
            **workers: ``workers``, ``engine`` and ``ray_address``; see
                :class:`~datasetkit.options.engines.WorkerOptions`. The bytes do not depend on them.

        Raises:
            UnknownNameError: there is no such format.
            RecipeError: there is no such option.
            OutputError: the destination contains something else.
            AddressError: it is on the Hub, or in a store that cannot be written.
            BuiltFolderError: there is no such split, or a shard cannot be read.
            EngineError: three workers died on the same images, or no worker can be kept alive.

        """
        from datasetkit.export.formats import FORMATS
        from datasetkit.options.engines import WorkerOptions

        options = WorkerOptions.checked(workers)
        how: dict[str, Any] = {"split": split, "overwrite": overwrite, "on_progress": on_progress, "workers": options}
        folder, _ = self._folder, FORMATS.load(str(to))
        from datasetkit.export.formats.exporting import export_folder, export_remote

        place = as_place(path_text(destination))
        if isinstance(place, RemotePath):
            check_written(place.protocol, place)
            return export_remote(folder, to, place, **how)
        return export_folder(folder, to, place, **how)

    def push(
        self, repository: str, *, on_progress: OnProgress | None = None, **options: Any
    ) -> Plan | Pushed | StorePush:
        """Publish the dataset on the Hugging Face Hub, in one commit, or in an object store.

        Example:
            >>> dk.open("out").push("user/name", private=True, tag="v1").url
            'https://huggingface.co/datasets/user/name/tree/v1'

        Args:
            repository: ``user/name`` (or its URL, such as ``hf://datasets/user/name``), or a URI such as
                ``s3://bucket/prefix``, for which the only options are ``dry_run`` and ``replace``.
            on_progress: called with the stage, the bytes sent and the total bytes, from several threads.
            **options: ``private``, ``revision``, ``tag``, ``token``, ``commit_message``, ``create_pr``, ``replace``
                and ``dry_run``; see :class:`~datasetkit.options.dataset.PushOptions`. Messages and
                results never contain a token.

        Raises:
            BuiltFolderError: the build is not finished, or a shard does not match the manifest.
            RecipeError: there is no such option.
            HubError, OutputError, OSError: the destination refuses something, or cannot be reached; nothing is lost.

        """
        from datasetkit.export.publish.publishing import publish

        folder = self._folder if isinstance(self.path, HubAddress) else self.path
        given = {"folder": folder, "repository": repository, **options}
        return publish(PushOptions.checked(given), on_progress)

    @property
    def _folder(self) -> Path:
        if isinstance(self.path, Path):
            return self.path
        raise BuiltFolderError(
            f"{self.path} is not a folder; only verify and push read remote datasets: download it, and open its folder"
        )

    @contextmanager
    def _files(self) -> Iterator[DatasetFiles]:
        from datasetkit.export.verification.files import FolderFiles

        with ExitStack() as stack:
            if isinstance(self.path, Path):
                yield FolderFiles(self.path)
                return
            files: DatasetFiles
            if isinstance(self.path, RemotePath):
                from datasetkit.export.publish.store.dataset import remote_files

                files = stack.enter_context(remote_files(self.path))
            else:
                from datasetkit.export.publish.hub.dataset import published_files

                try:
                    files = stack.enter_context(published_files(self.path.repo_id, self.path.revision))
                except HubError as error:
                    raise HubError(f"{self.path} is not a folder; {error}", error.status) from error
            _check_ours(self.path, files.names)
            yield files


class BuiltShard(Built):
    """What one job of an array built, while others are missing; the dataset in the folder cannot be used yet.

    Args:
        path: folder or URI of the dataset.
        shard: which shard, as ``INDEX/COUNT``.

    """

    def __init__(self, path: Place, shard: str) -> None:
        super().__init__(path)
        self.shard = shard

    def __repr__(self) -> str:
        return f"BuiltShard({str(self.path)!r}: shard {self.shard})"

    def _repr_html_(self) -> str:
        """Return the report as HTML."""
        return Result._repr_html_(self)

    def report(self) -> Iterator[str]:
        """Yield one line that says what is missing."""
        yield (
            f"shard {self.shard} of {self.path} is built; others are not. The last one publishes the dataset, or the "
            "same command with --finish in place of --shard"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the path and the shard."""
        return {"path": str(self.path), "shard": self.shard, "is_complete": False}


def open_built(folder: str | os.PathLike[str]) -> Built:
    """Open a built folder, or a published dataset.

    Example:
        >>> dk.open("out")
        Built('out': 6 records; train 6)

    Args:
        folder: folder that ``datasetkit build`` wrote. A published dataset is ``user/name[@revision]`` on the Hub (or
            its URL, such as ``hf://datasets/user/name``), or a URI; it supports ``manifest`` and ``verify()`` only,
            and at a URI also ``report()`` and ``push()``.

    Raises:
        BuiltFolderError: there is no dataset, or datasetkit did not write it.
        AddressError: ``folder`` is not a usable path, name or URI, for example that of a model.

    """
    given = path_text(folder)
    if not os.path.lexists(given) and (address := hub_address(given, "dataset")) is not None:
        return Built(address)
    place = as_place(given)
    if isinstance(place, RemotePath):
        return Built(place)
    if place.is_dir():
        _check_ours(place, [path.name for path in place.iterdir()])
        return Built(place)
    raise BuiltFolderError(
        f"{place} is not a folder; give one that `datasetkit build` wrote, or a dataset on the Hub as user/name"
    )


def _check_ours(where: object, names: Collection[str]) -> None:
    """Refuse a dataset that no build wrote."""
    if not _OURS.intersection(names):
        raise BuiltFolderError(
            f"{where} was not written by datasetkit: it has no {MANIFEST_NAME}; give a folder that `datasetkit build` "
            "wrote, or a published one"
        )
