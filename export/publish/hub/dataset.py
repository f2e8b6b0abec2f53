"""A published dataset, read file by file. Owns how its files come from the Hub, and that none of them stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, RepoFile, get_session, get_token, hf_hub_url, hf_raise_for_status
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]

from datasetkit.core.errors import HubError
from datasetkit.core.text import one_line
from datasetkit.export.dataset.files import FetchedFiles
from datasetkit.export.dataset.manifest import LEDGER_NAME, PAPERS
from datasetkit.export.publish.hub.calls import HubCaller, Patience

_TYPE = "dataset"
_MOST_PAPER_BYTES = 10**9  # papers are read whole, but for the ledger


class HubFiles(FetchedFiles):
    """The files of one commit of a dataset repository; made by :func:`published_files`.

    huggingface_hub's caches are not used: they keep what they load.

    Raises:
        HubError: a file beside the shards is larger than any that a build writes, or as :func:`published_files`.

    """

    def __init__(
        self,
        repo_id: str,
        revision: str | None,
        folder: Path,
        token: str | None,
        endpoint: str | None,
        patience: Patience,
    ) -> None:
        self._repo_id = repo_id
        self._api = HfApi(endpoint=endpoint, token=token or False)
        self._token = token
        self._call = HubCaller(repo_id, token, patience, writes=False)
        title = f"{repo_id}@{revision}" if revision else repo_id
        info = self._call(f"looking for {title}", lambda: self._api.dataset_info(repo_id, revision=revision))
        if info.sha is None:
            raise HubError(f"{title}: the Hub names no commit; give the full hash behind an @")
        self._commit = info.sha

        def listed() -> dict[str, int]:
            tree = self._api.list_repo_tree(repo_id, recursive=True, revision=info.sha, repo_type=_TYPE)
            return {item.path: item.size for item in tree if isinstance(item, RepoFile)}

        sizes = self._call("listing its files", listed)
        for name in set(PAPERS).intersection(sizes) - {LEDGER_NAME}:
            if sizes[name] > _MOST_PAPER_BYTES:
                raise HubError(
                    f"{title}: {name} has {sizes[name]:,} bytes, which no build writes; at most "
                    f"{_MOST_PAPER_BYTES:,} are read"
                )
        super().__init__(title, sizes, folder)

    def _fetch(self, name: str, path: Path) -> None:
        url = hf_hub_url(self._repo_id, name, repo_type=_TYPE, revision=self._commit, endpoint=self._api.endpoint)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}

        def stream() -> None:
            with (
                path.open("wb") as file,
                get_session().stream("GET", url, headers=headers, follow_redirects=True) as answer,
            ):
                if answer.is_error:
                    answer.read()  # what the Hub says of it
                hf_raise_for_status(answer)
                for piece in answer.iter_bytes():
                    file.write(piece)

        self._call(f"reading {name}", stream)


@contextmanager
def published_files(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Iterator[HubFiles]:
    """Open a published dataset; nothing of it is left on the disk afterwards.

    Args:
        repo_id: ``user/name``.
        revision: branch, tag or commit; None for the default branch. The commit that it is now is read throughout.
        token: None takes the one that ``hf auth login`` stored, or ``HF_TOKEN``; a public dataset needs none.
        endpoint: the Hub's address; None takes huggingface_hub's, which reads ``HF_ENDPOINT``.
        patience: how passing failures are met.

    Raises:
        HubError: the repository or the revision is not there, or the Hub does not answer.

    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(one_line(error)) from error
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as folder:
        yield HubFiles(repo_id, revision, Path(folder), token or get_token(), endpoint, patience)
