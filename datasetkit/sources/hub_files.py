"""Images that a Hub dataset stores next to its rows. Owns the rule that a row may only name files of its repository."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import leads_out
from datasetkit.sources.files import as_text, read_image
from datasetkit.sources.hub_loading import without_queries

_PLACE = re.compile(r"(?P<archive>(?:zip|tar)://[^:]*::)?(?P<file>.+)", re.DOTALL)
# Raised for files in archives that are damaged, encrypted or compressed in an unknown way.
_DAMAGE = (EOFError, LookupError, OSError, RuntimeError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


class RepositoryFiles:
    """Files of one commit, as rows name them: by URL if they are streamed, otherwise by their path in the cache.

    A row is untrusted data; a name in it that leads anywhere else is not opened.
    """

    def __init__(self, repo: str, commit: str, limits: ImageLimits) -> None:
        from datasets import config
        from huggingface_hub.constants import HF_HUB_CACHE

        self._address = f"hf://datasets/{repo}@{commit}/"
        own = Path(HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}"
        self._folders = [folder.resolve() for folder in (own, Path(config.DOWNLOADED_DATASETS_PATH))]
        self._limits = limits

    def opened(self, value: Any) -> Any:
        """Return a cell with its image's bytes if it only names a file of the repository; any other cell as it is.

        Raises:
            UnusableError: the file cannot be read, or is too large.
            SourceError: the Hub cannot be reached, or denies access.

        """
        path = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else None
        if not isinstance(path, str):
            return value
        match = _PLACE.fullmatch(path)
        file = match["file"] if match else ""
        is_streamed = file.startswith(self._address) and not leads_out(file.removeprefix(self._address))
        if is_streamed or (match and match["archive"] and self._is_cached(file)):
            return {"bytes": self._streamed(path), "path": PurePosixPath(path.split("::")[0]).name}
        if self._is_cached(path):
            return {"bytes": read_image(Path(path), self._limits), "path": PurePosixPath(path).name}
        raise UnusableError(DropReason.PATH_ESCAPES, f"{as_text(path)!r} is not a file of the dataset's repository")

    def _is_cached(self, path: str) -> bool:
        if "\0" in path or not Path(path).is_absolute():
            return False
        try:
            target = Path(path).resolve()
        except (OSError, RuntimeError, UnicodeEncodeError):
            return False
        return any(target.is_relative_to(folder) for folder in self._folders)

    def _streamed(self, path: str) -> bytes:
        import fsspec
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's, by any name

        try:
            with fsspec.open(path, "rb") as file:
                data: bytes = file.read(self._limits.max_bytes + 1)
        except FileNotFoundError:
            raise UnusableError(DropReason.MISSING, f"{as_text(path)} is not there") from None
        except (HTTPError, *_DAMAGE) as error:
            refusal = _refusal(error)
            if refusal is not None:
                raise SourceError(
                    f"{as_text(path)} cannot be fetched from the Hub: {without_queries(refusal)}"
                ) from error
            detail = f"{as_text(path)} cannot be read: {type(error).__name__}"
            raise UnusableError(DropReason.UNREADABLE, detail) from error
        if len(data) > self._limits.max_bytes:
            detail = f"{as_text(path)} has more than the {self._limits.max_bytes:,} bytes that are allowed"
            raise UnusableError(DropReason.TOO_MANY_BYTES, detail)
        return data


def _refusal(error: BaseException | None) -> Exception | None:
    """Return the Hub's or the network's error behind an error that readers of archives report as damage."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's, by any name

    while error is not None:
        if isinstance(error, HTTPError):
            return error
        error = error.__cause__ or error.__context__
    return None
