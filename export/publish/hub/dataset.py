"""A published dataset, read file by file. Owns its downloads from the Hub, and their removal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import get_token
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]

from datasetkit.core.errors import HubError
from datasetkit.core.text import one_line
from datasetkit.export.dataset.manifest import LEDGER_NAME, PAPERS
from datasetkit.export.publish.hub.calls import Patience
from datasetkit.export.publish.hub.repository import HubRepository
from datasetkit.export.verification.files import FetchedFiles

_MOST_PAPER_BYTES = 10**9  # papers are read as a whole, except the ledger


class HubFiles(FetchedFiles):
    """The files of one commit of a dataset repository; made by :func:`published_files`.

    Raises:
        HubError: a file other than a shard is larger than any that a build writes; see also :func:`published_files`.

    """

    def __init__(self, repository: HubRepository, revision: str | None, folder: Path) -> None:
        title = f"{repository.repo_id}@{revision}" if revision else repository.repo_id
        self._repository = repository
        self._commit = repository.find_commit(title, revision)
        files = repository.files(self._commit)
        for name in set(PAPERS).intersection(files) - {LEDGER_NAME}:
            if files[name].size > _MOST_PAPER_BYTES:
                raise HubError(
                    f"{title}: {name} has {files[name].size:,} bytes, more than any build writes; at most "
                    f"{_MOST_PAPER_BYTES:,} are read"
                )
        super().__init__(title, files, folder)

    def _fetch(self, name: str, path: Path) -> None:
        self._repository.fetch(name, self._commit, path)


@contextmanager
def published_files(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Iterator[HubFiles]:
    """Open a published dataset, of which nothing stays on the disk afterwards.

    All files come from the commit that the revision (branch, tag or hash; None for the default branch) is now. Without
    a token, the one that ``hf auth login`` stored is used, or ``HF_TOKEN``; a public dataset needs none.

    Raises:
        HubError: the repository or the revision does not exist, or the Hub does not respond.

    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(one_line(error)) from error
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as folder:
        repository = HubRepository(
            repo_id, "dataset", token=token or get_token(), endpoint=endpoint, patience=patience, writes=False
        )
        yield HubFiles(repository, revision, Path(folder))
