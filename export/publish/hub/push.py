"""Publishing a folder on the Hub. Owns the order of steps: check, send, commit once, read back, tag.

Large files are sent first, without a visible change. One commit then contains files, card and deletions, on top of the
head that was read in the beginning. An interrupted push can be repeated: files that the Hub has, or has received, are
identified by their hashes and not sent again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any

from huggingface_hub import get_token

from datasetkit.core.addresses import RepoType, hub_address
from datasetkit.core.errors import HubError
from datasetkit.core.paths import Place
from datasetkit.core.text import keep_secret
from datasetkit.export.publish.hub.built_dataset import BuiltDataset
from datasetkit.export.publish.hub.calls import Patience
from datasetkit.export.publish.hub.changes import Changes, find_changes
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import MAIN_BRANCH, HubRepository, RepositoryState, Upload
from datasetkit.export.publish.hub.results import Plan, Pushed
from datasetkit.runtime.progress import OnProgress, counter

# What `git check-ref-format` refuses, and a leading "-".
_NO_REF_NAME = re.compile(r"^$|^@$|^[-/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.lock(/|$)|[/.]$")


def push(
    folder: Place,
    repository: str,
    *,
    read: Callable[[Any], Contents] = BuiltDataset.read,
    private: bool | None = None,
    revision: str | None = None,
    tag: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    replace: Sequence[str] = (),
    dry_run: bool = False,
    endpoint: str | None = None,
    on_progress: OnProgress | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Plan | Pushed:
    """Publish a folder, in one commit; for the options see ``Built.push``.

    ``repository`` may have any spelling that :func:`~datasetkit.core.addresses.hub_address` reads. ``read`` reads the
    folder as a dataset (``StoredDataset.read`` for a URI), or, if it is ``Adapter.read``, as an adapter, which becomes
    a model repository. The visibility of an existing repository must match ``private``, and a tag that this commit has
    already is not an error. A pull request excludes branches, tags and new repositories. Without ``endpoint``, that of
    huggingface_hub is used, which reads ``HF_ENDPOINT``. A dry run on a public repository needs no token.

    Returns:
        what was done, or would be. After a push, all files on the Hub were compared with those of the folder, and the
        card with the merged one.

    Raises:
        AddressError: ``repository`` is of another type, or a file.
        BuiltFolderError: the build is not finished, the YAML of its card cannot be read, or a shard does not match the
            manifest.
        ModelError: the folder contains no adapter that can be published.
        HubError: files that no push wrote would be replaced and ``replace`` does not name them; there is no token, a
            card on the Hub that cannot be read, a tag of another commit, or a moved head; or the Hub refused a request.
        OutputError: ``replace`` does not name a pushed file.

    """
    contents = read(folder)
    repo_id, branch = _target(repository, contents.repo_type, revision, tag, create_pr=create_pr)
    token = _find_token(token, is_needed=not dry_run)
    hub = HubRepository(
        repo_id,
        contents.repo_type,
        branch,
        token=token,
        endpoint=endpoint,
        patience=patience,
        writes=not dry_run,
        create_pr=create_pr,
    )
    state = hub.read()
    _check_target(hub, state, private, tag)
    files = contents.read_files(on_progress)
    others = contents.others(file.path for file in files)
    changes = find_changes(hub, state, contents, files, replace)
    _check_tag(hub, state, changes, tag)
    if dry_run:
        return _plan(hub, state, changes, tag, others)
    changes.foreign.check(repo_id, HubError)
    if not state.exists:
        hub.create(private=private)
        state = hub.read()
        _check_target(hub, state, private, None)  # somebody else may have created it meanwhile
        changes = find_changes(hub, state, contents, files, replace)
        changes.foreign.check(repo_id, HubError)
    if not state.has_branch and state.head is not None:
        hub.create_branch(state.head)
    on_sent = counter("sending", sum(file.size_bytes for file in changes.additions), on_progress)
    hub.send(uploads := [Upload(file, on_sent) for file in changes.additions])
    commit, pull_request = _commit(hub, state, changes, uploads, commit_message or contents.commit_title)
    _read_back(hub, commit, changes, contents.papers)
    if tag is not None and tag not in state.tags:
        hub.create_tag(tag, commit)
    sent = [upload.size_bytes for upload in uploads if upload.was_sent]
    return Pushed(
        commit,
        hub.url(tag or branch),
        len(sent),
        sum(sent),
        len(changes.files) - len(sent),
        sum(file.size_bytes for file in changes.files) - sum(sent),
        len(changes.deletions),
        changes.card,
        tag in state.tags,
        contents.repo_type == "dataset",
        pull_request,
        changes.foreign,
        others,
    )


def _plan(
    repository: HubRepository, state: RepositoryState, changes: Changes, tag: str | None, others: tuple[str, ...]
) -> Plan:
    changed = {file.path for file in changes.additions}
    return Plan(
        repository.repo_id,
        repository.branch,
        not state.exists,
        not state.has_branch and (state.exists or repository.branch != MAIN_BRANCH),
        tuple((file.path, file.size_bytes) for file in changes.additions),
        tuple((file.path, file.size_bytes) for file in changes.files if file.path not in changed),
        changes.deletions,
        changes.card,
        None if tag in state.tags else tag,
        repository.create_pr,
        changes.foreign,
        others,
        tuple(_unknown(repository, state)),
    )


def _unknown(repository: HubRepository, state: RepositoryState) -> Iterator[str]:
    """Yield what a dry run cannot check."""
    name = repository.repo_id
    if not repository.has_token:
        yield f"whether you may write to {name}: there is no token"
    if not state.exists:
        yield f"whether {name} exists and is private: it {'is not' if repository.has_token else 'cannot be'} visible"


def _target(
    repository: str, repo_type: RepoType, revision: str | None, tag: str | None, *, create_pr: bool
) -> tuple[str, str]:
    """Return the repository and the branch; refuse invalid names of repositories, branches and tags."""
    address = hub_address(repository, repo_type)
    if address is None:
        whose = f"user/{repository}" if re.fullmatch(r"[\w.-]+", repository) else "user/name"
        raise HubError(f"{repository!r} does not name a repository on the Hub; write it as {whose}")
    found = address.at(revision).revision
    branch = MAIN_BRANCH if found is None else found
    if create_pr and (branch, tag) != (MAIN_BRANCH, None):
        raise HubError("--create-pr proposes a commit to main; --revision and --tag do not go with it")
    for option, name in (("--revision", branch), ("--tag", tag)):
        if name is not None and _NO_REF_NAME.search(name):
            raise HubError(
                f"{option} {name!r} is not a valid git name: no spaces, none of ~^:?*[\\, no .. or //, and no "
                "- or / at the beginning"
            )
    return address.repo_id, branch


def _find_token(token: str | None, *, is_needed: bool) -> str | None:
    token = (token or "").strip() or get_token()
    if token is None and not is_needed:
        return None
    if token is None:
        raise HubError("there is no token for the Hub; run `hf auth login`, set HF_TOKEN, or give --token")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise HubError("the token for the Hub contains invalid characters; copy it again")
    keep_secret(token)
    return token


def _check_target(repository: HubRepository, state: RepositoryState, private: bool | None, tag: str | None) -> None:
    """Refuse everything that can be checked before anything is sent."""
    name = repository.repo_id
    if repository.create_pr and not state.exists and repository.has_token:
        raise HubError(f"{name} does not exist, so a pull request is impossible; push without --create-pr to create it")
    if tag is not None and state.tags.get(tag, state.head) != state.head:
        raise _taken(name, tag, state.tags[tag])
    if repository.branch in state.tags:
        raise HubError(f"{repository.branch} is a tag of {name}, which cannot be pushed to; give a branch")
    if private is not None and state.is_private is not None and private != state.is_private:
        is_now, wanted = ("private", "public") if state.is_private else ("public", "private")
        raise HubError(f"{name} is {is_now}; make it {wanted} in its settings on the Hub, or push as --{is_now}")


def _check_tag(repository: HubRepository, state: RepositoryState, changes: Changes, tag: str | None) -> None:
    """Refuse a tag that is on another commit; a finished push may be repeated."""
    if tag is not None and tag in state.tags and (changes.additions or changes.deletions):
        raise _taken(repository.repo_id, tag, state.tags[tag])


def _taken(repo_id: str, tag: str, commit: str) -> HubError:
    return HubError(f"{repo_id} already has a tag {tag} (at commit {commit[:12]}); give another --tag")


def _commit(
    repository: HubRepository, state: RepositoryState, changes: Changes, uploads: Sequence[Upload], title: str
) -> tuple[str, str | None]:
    """Return the commit and the URL of its pull request."""
    if not uploads and not changes.deletions and state.head is not None:
        return state.head, None
    try:
        return repository.commit(uploads, changes.deletions, message=title, parent=state.head)
    except HubError as error:
        head = repository.read().head
        if repository.create_pr and error.status is None:
            raise HubError(f"{error}. The pull request may exist; see {repository.url(MAIN_BRANCH)}") from error
        if head == state.head or head is None:
            raise
        # The response was lost: the commit exists.
        if not changes.differences(repository.files(head)):
            return head, None
        raise HubError(
            f"somebody else committed to {repository.repo_id} meanwhile ({repository.branch} is at {head[:12]}, not "
            f"{str(state.head)[:12]}); nothing was changed or lost: run the same command again",
            error.status,
        ) from error


def _read_back(repository: HubRepository, commit: str, changes: Changes, papers: Set[str]) -> None:
    wrong = changes.differences(repository.files(commit))
    for file in changes.files:
        if file.path in papers and file.path not in wrong:
            wrong += [] if repository.read_file(file.path, commit) == file.read() else [file.path]
    if wrong:
        raise HubError(
            f"commit {commit[:12]} of {repository.repo_id} differs from what was sent: {', '.join(wrong[:5])} "
            f"({len(wrong)} in all); a .gitignore there may leave files out. Push again"
        )
