"""Rows by name or folder. Owns the choice of the split, the required columns, and the identity of data and rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.addresses import hub_address
from datasetkit.core.documents import read_json
from datasetkit.core.errors import SourceError
from datasetkit.core.files import file_sha256
from datasetkit.core.text import one_line
from datasetkit.hi_scoring.data.given import given_splits, rows_sha256, undecoded
from datasetkit.hi_scoring.data.samples import MASK_COLUMNS, TEXT_COLUMNS
from datasetkit.runtime.checkpoints import PREFIX

_KNOWN = ("image", *TEXT_COLUMNS, *MASK_COLUMNS, "phrases", "questions", "image_id", "record_id", "source")
# Columns that rows need, one of each group: to score heads on them, to learn their texts, to learn answers.
SCORED = (("image",), TEXT_COLUMNS, MASK_COLUMNS)
DESCRIBED = (("image",), TEXT_COLUMNS)
ASKED = (("image",), ("questions",))


@dataclass(frozen=True)
class DataIdentity:
    """The identity of the rows that were scored.

    Args:
        name: name of the dataset on the Hub, or of the folder, never its path.
        split: the split that was read.
        revision: commit on the Hub; None for a folder.
        sha256: for a built folder, hash of its manifest, which has the hash of every shard; for another folder, hash of
            its files' names and contents; None on the Hub.
        rows: number of rows.

    """

    name: str
    split: str
    revision: str | None
    sha256: str | None
    rows: int

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def shares_rows(self, told: Mapping[str, Any]) -> bool:
        """Whether these rows and others (see :meth:`as_json`) are the first ones of the same split."""
        return all(told.get(name) == value for name, value in self.as_json().items() if name != "rows")


@dataclass(frozen=True)
class Data:
    """Rows and their identity.

    Args:
        record_ids: ids of the rows, which can be read without their images; None if rows have no ids.
        image_ids: ids of their images, which several rows may share; None if images have no ids.

    """

    rows: Any
    identity: DataIdentity
    record_ids: Sequence[str | None] | None = None
    image_ids: Sequence[Any] | None = None

    @property
    def has_phrases(self) -> bool:
        """Whether the rows have phrases, which say which words name which object."""
        return {"objects", "phrases"} <= set(self.rows.column_names)

    def categories(self) -> set[str]:
        """Return the categories of all objects; empty if the rows have no objects in datasetkit's format."""
        found = (item.get("category") for item in self._objects())
        return {category for category in found if isinstance(category, str)}

    @property
    def has_found_objects(self) -> bool:
        """Whether models found objects of these rows, by their descriptions: objects not named there are unknown."""
        found = (item.get("scores") for item in self._objects())
        return any(isinstance(scores, Mapping) and scores.get("detection") is not None for scores in found)

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of all rows; skip malformed ones: their rows are dropped when they are read."""
        if self.has_phrases:
            for one in self.rows.select_columns(["objects"]):
                yield from (item for item in one["objects"] or () if isinstance(item, Mapping))

    @property
    def is_rendered(self) -> bool:
        """Whether the first row is marked as one of toyworld's scenes."""
        if "source" not in self.rows.column_names or not len(self):
            return False
        source = self.rows.select_columns(["source"])[0].get("source")
        return isinstance(source, Mapping) and str(source.get("uri")).startswith(PREFIX)

    def without_images(self) -> Iterator[Mapping[str, Any]]:
        """Yield all rows in order, without their images, which are not read."""
        yield from self.rows.remove_columns("image")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        row = dict(self.rows[index])
        image = row.get("image")
        if isinstance(image, Mapping) and image.get("bytes") is None and image.get("path"):
            row["image"] = {"bytes": Path(image["path"]).read_bytes(), "path": image["path"]}
        return row

    def name(self, index: int) -> str:
        """Return the id of a row, even if its image or a mask is damaged; its index if it has no id."""
        return str((self.record_ids and self.record_ids[index]) or f"row-{index}")

    def image_id(self, index: int) -> str:
        """Return the id of a row's image: the same in all rows of one image, of which a dataset may have several.

        A row without an image id is taken to be the only one of its image; its row id is returned.
        """
        found = None if self.image_ids is None else self.image_ids[index]
        return self.name(index) if found is None or found == "" else str(found)


def open_data(
    place: object,
    split: str | None = None,
    limit: int | None = None,
    requires: Sequence[Sequence[str]] = SCORED,
    usual: str = "train",
) -> Data:
    """Open a dataset built by datasetkit, or any other that has the columns.

    Args:
        place: a folder, or ``user/name[@revision]`` on the Hub or its URL; or rows as an object, see
            :func:`datasetkit.hi_scoring.data.given.given_splits`.
        split: the split; None selects the usual one if there is one, else the only one.
        limit: read only this many rows, the first ones.
        requires: groups of columns; rows need one column of each group: :data:`SCORED`, :data:`DESCRIBED` or
            :data:`ASKED`.
        usual: the split to read if none is named.

    Raises:
        SourceError: it does not exist, has no such split, or lacks a column; the message lists those it has.

    """
    if isinstance(place, str | Path):
        check_place(str(place), split)
        name, revision, sha256, loaded = _load(str(place))
    else:
        name, revision, sha256, loaded = type(place).__name__, None, None, given_splits(place, usual)
    shown = str(place) if isinstance(place, str | Path) else name
    split = _split(shown, split, list(loaded), usual)
    rows = loaded[split]
    check_columns(shown, rows.column_names, requires)
    rows = rows.select_columns([column for column in rows.column_names if column in _KNOWN])
    if sha256 is None and revision is None:
        sha256 = rows_sha256(rows)
    if limit is not None:
        rows = rows.select(range(min(limit, len(rows))))
    ids = {column: rows[column] for column in ("record_id", "image_id") if column in rows.column_names}
    identity = DataIdentity(name, split, revision, sha256, len(rows))
    return Data(rows, identity, ids.get("record_id"), ids.get("image_id"))


def check_place(place: str, split: str | None) -> None:
    """Refuse a wrong dataset name before anything is loaded.

    Raises:
        SourceError: it is not a folder and cannot be on the Hub, or it is a built folder without that split.
        AddressError: it is a Hub URL that cannot be used, such as that of a model.

    """
    folder = Path(place)
    if folder.is_file():
        raise SourceError(f"{place} is a file; give the folder that holds it")
    if not place or not (folder.is_dir() or hub_address(place, "dataset")):
        raise SourceError(f"{place!r} is not a folder, nor a dataset on the Hub; give one as user/name[@revision]")
    manifest = folder / "manifest.json"
    if split is not None and manifest.is_file():
        try:
            there = list(read_json(manifest)["splits"])
        except (ValueError, KeyError, TypeError):
            return  # loading it reports what is wrong
        _split(place, split, there, split)


def _load(place: str) -> tuple[str, str | None, str | None, Any]:
    """Load all splits; return the name, the commit and the digest of the files, then the splits."""
    import datasets

    folder, name, revision, sha256 = Path(place), Path(place).resolve().name, None, None
    if not folder.is_dir() and (address := hub_address(place, "dataset")):
        address.check_no_folder()
        name, revision = address.repo_id, _commit(address.repo_id, address.revision)
    try:
        loaded = datasets.load_dataset(str(folder) if revision is None else name, revision=revision)
        if revision is None:
            sha256 = _digest(folder)
    except (OSError, ValueError, RuntimeError, LookupError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"{place} cannot be loaded: {one_line(error)[:400]}") from error
    return name, revision, sha256, {split: undecoded(rows) for split, rows in loaded.items()}


def _digest(folder: Path) -> str:
    """Hash a built folder's manifest, or the name and content of each file that another folder's rows come from."""
    import datasets

    manifest = folder / "manifest.json"
    if manifest.is_file():
        return file_sha256(manifest)
    digest, root = hashlib.sha256(), folder.resolve()
    named = datasets.load_dataset_builder(str(folder)).config.data_files or {}
    for path in sorted({Path(path) for paths in named.values() for path in paths}):
        digest.update(f"{os.path.relpath(path, root)} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _commit(name: str, revision: str | None) -> str:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # defined by httpx

    if constants.HF_HUB_OFFLINE:
        raise SourceError(f"there is no folder {name}; HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it")
    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except (OSError, ValueError, HTTPError) as error:
        told = one_line(str(error).split("\n")[0])
        raise SourceError(f"there is no folder {name}, and the Hub has no such dataset: {told}") from error
    if commit is None:
        raise SourceError(f"{name}: the Hub reports no commit; give one as {name}@HASH")
    return commit


def _split(place: str, wanted: str | None, there: list[str], usual: str) -> str:
    if wanted is None:
        wanted = usual if usual in there else there[0] if len(there) == 1 else None
    if wanted not in there:
        raise SourceError(f"{place} has the splits {', '.join(there)}; give one of them, not {wanted or 'none'}")
    return wanted


def check_columns(place: str, there: list[str], requires: Sequence[Sequence[str]]) -> None:
    """Refuse rows that lack all columns of one of the groups.

    Raises:
        SourceError: the message lists the columns that exist.

    """
    for names in requires:
        if not any(name in there for name in names):
            raise SourceError(f"{place} has no column {' or '.join(names)}; it has {', '.join(there)}")
