"""Models from the Hub to this machine. Owns which files are fetched, and that an interrupted download resumes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, httpx  # type: ignore[attr-defined] # under any name

from datasetkit.core.errors import HubError, ModelError, OutputError
from datasetkit.core.text import connection_fault, first_line
from datasetkit.runtime.checkpoints import Checkpoint
from datasetkit.runtime.fetched import Found, HubFile, Listing, file_etag, folder_of, is_read

_TIMEOUT_S = 10
_LOCK = "fetching.lock"
_LICENSE = "license:"


def ask_hub(checkpoint: Checkpoint) -> Listing:
    """Ask the Hub which files a model has that loading needs.

    Raises:
        HubError: the Hub cannot be reached, refuses, or answers something else.
        ModelError: the model has no weights as safetensors.

    """
    name = checkpoint.id
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{name}: HF_HUB_OFFLINE is set, so the Hub cannot be asked")
    try:
        info = HfApi().model_info(name, revision=checkpoint.revision, files_metadata=True, timeout=_TIMEOUT_S)
        listing = _listing_of(checkpoint, info)
    except httpx.RequestError as error:
        raise HubError(f"{name}: the Hub does not answer ({connection_fault(error)})") from error
    except HfHubHTTPError as error:
        raise HubError(_refusal(checkpoint, error), error.response.status_code) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # another page, or JSON of another shape
        what = f"{type(error).__name__}: {first_line(error)}"
        raise HubError(f"{name}: the Hub's response does not describe a model ({what})") from error
    if checkpoint.has_weights and not any(name.endswith(".safetensors") for name in listing.files):
        raise ModelError(f"{name} has no weights as safetensors on the Hub; name another model or revision")
    return listing


def _listing_of(checkpoint: Checkpoint, info: ModelInfo) -> Listing:
    return Listing(
        id=checkpoint.id,
        revision=checkpoint.revision,
        commit=info.sha or "",
        license=next((tag.removeprefix(_LICENSE) for tag in info.tags or () if tag.startswith(_LICENSE)), None),
        parameters=None if info.safetensors is None else info.safetensors.total,
        files={
            one.rfilename: HubFile(
                size=one.size or 0, etag=one.lfs.sha256 if one.lfs is not None else one.blob_id or ""
            )
            for one in info.siblings or ()
            if is_read(one.rfilename, has_weights=checkpoint.has_weights)
        },
    )


def fetch(checkpoint: Checkpoint, listing: Listing, root: Path | None, count: Callable[[int], None]) -> Found:
    """Fetch what is missing of a model.

    A partial file is resumed, also by another process (the Hub's own client starts it again); each file is renamed once
    its digest is right.

    Args:
        checkpoint: the model.
        listing: its files, as :func:`ask_hub` returned them.
        root: folder to fill; None for the Hub's cache.
        count: called with the number of bytes of each piece that is here now.

    Raises:
        HubError: the Hub cannot be reached, or refuses; what came is kept.
        ModelError: a file is not the one that the Hub listed.
        OutputError: another process fetches this model to the same place.

    """
    folder = folder_of(root, checkpoint, listing.commit) if root is not None else _snapshot(checkpoint, listing.commit)
    folder.mkdir(parents=True, exist_ok=True)
    found = Found(folder, listing)
    try:
        with FileLock(folder / _LOCK, timeout=0):
            listing.write(folder)
            _fetch_lacking(checkpoint, found, listing, root, count)
            with suppress(PermissionError):  # Windows removes no open file
                (folder / _LOCK).unlink()
    except Timeout:
        raise OutputError(
            f"another process is fetching {checkpoint.id} to {folder}; wait until it ends, then run the same command "
            "again"
        ) from None
    return found


def _fetch_lacking(
    checkpoint: Checkpoint, found: Found, listing: Listing, root: Path | None, count: Callable[[int], None]
) -> None:
    lacking = set(found.lacking())
    for name, file in listing.files.items():
        if name not in lacking:
            count(file.size)
            continue
        try:
            _fetch_file(found, listing, name, count)
            if root is None:  # the client links to what it finds there
                hf_hub_download(checkpoint.id, name, revision=checkpoint.revision)
        except httpx.RequestError as error:
            raise HubError(
                f"{checkpoint.id}: the connection broke ({connection_fault(error)}); what came is kept; run "
                "the same command again"
            ) from error
        except HfHubHTTPError as error:
            raise HubError(_refusal(checkpoint, error), error.response.status_code) from error
        except OSError as error:
            if error.errno is not None:
                raise  # of a file here
            raise HubError(
                f"{checkpoint.id}: {name} did not come whole ({first_line(error)}); run the same command again"
            ) from error


def _snapshot(checkpoint: Checkpoint, commit: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{checkpoint.id.replace('/', '--')}" / "snapshots" / commit


def _fetch_file(found: Found, listing: Listing, name: str, count: Callable[[int], None]) -> None:
    """Fetch one file by way of a partial one."""
    file, partial = listing.files[name], found.partial(name)
    target = partial.with_suffix("")
    if target.is_file() and target.stat().st_size == file.size:
        count(file.size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as written:
        have = written.tell() if written.tell() <= file.size else written.truncate(0)
        count(have)
        http_get(
            hf_hub_url(listing.id, name, revision=listing.commit),
            written,
            resume_size=have,
            headers=build_hf_headers(),
            expected_size=file.size,
            tqdm_class=_Counter(count),  # type: ignore[arg-type] # whatever makes such a bar
        )
    if partial.stat().st_size != file.size or file_etag(partial, file.etag) != file.etag:
        partial.unlink()
        raise ModelError(
            f"{listing.id}: {name} is not the file that the Hub listed: its digest differs; run the same command again"
        )
    partial.replace(target)


class _Counter:
    """Replaces the progress bar of the Hub's client, and counts bytes."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def __call__(self, **_: Any) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def update(self, new: float | None = 1) -> None:
        """Count new bytes."""
        self._count(int(new or 0))


def _refusal(checkpoint: Checkpoint, error: HfHubHTTPError) -> str:
    """Write in one line why the Hub refuses a model."""
    name = checkpoint.id
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: accept its terms on its page on the Hub, then log in with: hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {checkpoint.revision} on the Hub"
    if isinstance(error, RepositoryNotFoundError):
        return f"{name} is not on the Hub, or private; check its name, or log in with: hf auth login"
    if error.response.status_code in (401, 403):
        return f"{name}: the Hub refuses ({first_line(error)}); log in with: hf auth login"
    return f"{name}: the Hub refuses ({first_line(error)}); run the same command again later"
