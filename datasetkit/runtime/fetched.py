"""Models of the Hub that are on this machine. Owns the folder that ``datasetkit models fetch --to`` fills.

The folder has ``ORG--NAME/COMMIT/`` for each model, with its files and :data:`RECORD`, which lists them with sizes and
digests as the Hub gave them. It can be copied anywhere. A model that was fetched to the Hub's own cache has the same
record in its snapshot.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from datasetkit.core.errors import ModelError
from datasetkit.core.files import file_sha256, write_json
from datasetkit.core.text import one_line
from datasetkit.runtime.checkpoints import Checkpoint

RECORD = "fetched.json"
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_WEIGHT_NAMES = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
# Configurations, tokenizers, templates; not the indices of other weights, nor hidden files.
_OTHER_NAMES = re.compile(
    r"(?!\.|.*\.index\.json$)[\w.-]+\.(json|jinja|model|tiktoken|txt)|additional_chat_templates/(?!\.)[\w.-]+"
)


class HubFile(BaseModel):
    """A file as the Hub lists it: its size in bytes, and the SHA-256 of a large or the git id of a small one."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(ge=0)
    etag: str = Field(pattern=r"^[0-9a-f]+$")


class Listing(BaseModel):
    """The files of a model that loading needs, by name.

    ``revision`` is the one that was asked for, ``commit`` the one that it named then; ``parameters`` counts weights,
    where the Hub does.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    revision: str | None
    commit: str = Field(pattern=r"^[0-9a-f]+$")
    license: str | None
    parameters: int | None
    files: dict[str, HubFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def write(self, folder: Path) -> None:
        """Write the record into a model's folder."""
        write_json(folder / RECORD, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Listing | None:
        """Read the record of a model's folder; return None where there is none.

        Raises:
            ModelError: it is damaged.

        """
        try:
            return cls.model_validate_json((folder / RECORD).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            detail = one_line(error.errors()[0]["msg"])
            raise ModelError(f"{folder / RECORD} is damaged ({detail}); remove {folder} and fetch it again") from None


@dataclass(frozen=True, slots=True)
class Found:
    """A model's folder on this machine, with its record where it has one."""

    folder: Path
    listing: Listing | None

    @property
    def commit(self) -> str:
        """Commit on the Hub."""
        return self.folder.name if self.listing is None else self.listing.commit

    def lacking(self, *, has_weights: bool = True) -> list[str]:
        """Return the names of files that are not there, or not whole.

        Without a record, only the configuration and the weights are known to be needed.
        """
        if self.listing is None:
            return [
                name for name in _needed(self.folder, has_weights=has_weights) if not (self.folder / name).is_file()
            ]
        files = self.listing.files.items()
        return [name for name, file in files if _size(self.folder / name) != file.size]

    def partial(self, name: str) -> Path:
        """Return the path of a file while it is fetched: next to its own, or in the Hub's cache next to its blob."""
        place = self.folder / name
        if self.listing is not None and self.folder.parent.name == "snapshots":
            place = self.folder.parent.parent / "blobs" / self.listing.files[name].etag
        return place.with_name(f"{place.name}.incomplete")

    def missing(self) -> int:
        """Count the bytes of the listed files that are not here yet."""
        files = {} if self.listing is None else self.listing.files
        return sum(max(files[name].size - (_size(self.partial(name)) or 0), 0) for name in self.lacking())

    def faults(self, *, has_weights: bool = True) -> Iterator[str]:
        """Yield one line per file that is missing, cut short, changed or added."""
        lacking = self.lacking(has_weights=has_weights)
        for name in lacking:
            size = _size(self.folder / name)
            yield f"{name} is missing" if size is None else f"{name} is not complete: it has {size:,} bytes"
        yield from (f"{name} is not the file that the Hub listed: its digest differs" for name in self.changed())
        yield from (f"{name} is not among the files that the Hub listed; remove it" for name in self.added())

    def changed(self) -> list[str]:
        """Return the names of files that have the listed size but another digest."""
        files = {} if self.listing is None else self.listing.files
        lacking = self.lacking()
        return [
            name
            for name, file in files.items()
            if name not in lacking and file_etag(self.folder / name, file.etag) != file.etag
        ]

    def added(self) -> list[str]:
        """Return the names of files that loading would read, but that the Hub did not list."""
        if self.listing is None:
            return []
        known = {*self.listing.files, RECORD}
        has_weights = any(_WEIGHT_NAMES.fullmatch(name) for name in known)
        there = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(name for name in there if name not in known and is_read(name, has_weights=has_weights))

    def remove(self, name: str) -> None:
        """Remove a file, and in the Hub's cache what it links to, so that it is fetched again."""
        path = self.folder / name
        path.resolve().unlink()
        path.unlink(missing_ok=True)


def is_read(name: str, *, has_weights: bool) -> bool:
    """Return whether loading a model may read a file of this name."""
    if has_weights and _WEIGHT_NAMES.fullmatch(name):
        return True
    return name != RECORD and _OTHER_NAMES.fullmatch(name) is not None


def folder_of(root: Path, checkpoint: Checkpoint, commit: str) -> Path:
    """Return the folder of one commit of a model below ``root``."""
    return root / checkpoint.id.replace("/", "--") / commit


def find(checkpoint: Checkpoint, root: Path | None) -> Found | None:
    """Look for a model.

    Args:
        checkpoint: Hub id and revision.
        root: folder that was filled by ``datasetkit models fetch --to``; None for the Hub's cache.

    Raises:
        ModelError: it is not a Hub id, or several of its commits are whole.

    """
    try:
        validate_repo_id(checkpoint.id)
    except HFValidationError as error:
        raise ModelError(f"{checkpoint.id} is neither a folder nor a Hub id: {one_line(error)}") from None
    if root is None:
        config = try_to_load_from_cache(checkpoint.id, "config.json", revision=checkpoint.revision)
        folder = Path(config).parent if isinstance(config, str) else None
        return None if folder is None else Found(folder, Listing.read(folder))
    found = []
    for record in sorted(root.glob(f"{checkpoint.id.replace('/', '--')}/*/{RECORD}")):
        listing = Listing.read(record.parent)
        if listing is not None and checkpoint.revision in (None, listing.commit, listing.revision):
            found.append(Found(record.parent, listing))
    whole = [one for one in found if not one.lacking()]
    if len(whole) > 1:
        commits = " and ".join(one.commit for one in whole)
        raise ModelError(f"{root} has {checkpoint.id} at {commits}; name one as revision, or remove the others")
    return next(iter(whole or found), None)


def file_etag(path: Path, like: str) -> str:
    """Return a file's digest of the same kind as another: SHA-256, or the id that git gives it."""
    if len(like) == hashlib.sha256().digest_size * 2:
        return file_sha256(path)
    head = f"blob {path.stat().st_size}\0".encode()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(head, usedforsecurity=False)).hexdigest()


def weight_count(folder: Path) -> int:
    """Count the weights in a folder's safetensors files by their headers.

    Raises:
        ModelError: a header cannot be read.

    """
    count = 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy") as file:
                count += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} is not a safetensors file: {one_line(error)}; fetch it again") from None
    return count


def _needed(folder: Path, *, has_weights: bool) -> Iterator[str]:
    """Yield the names of configuration and weights; of weights in several files, those that their index names."""
    yield "config.json"
    if not has_weights or (folder / _WEIGHTS).is_file():
        return
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        yield from sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        yield _WEIGHTS


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
