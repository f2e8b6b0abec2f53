"""URIs and Hub names, as users write them. Owns the allowed schemes, and the spellings of a repository on the Hub.

Everything that takes a path or URI asks this module: :func:`split_address` for ``s3://bucket/prefix`` and similar URIs,
:func:`hub_address` for every spelling of a repository on the Hugging Face Hub. A repository is not a store: only
``push`` writes to it. A bucket of the Hub, ``hf://buckets/user/name``, is one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from datasetkit.core.errors import AddressError
from datasetkit.core.text import one_line

RepoType = Literal["dataset", "model"]

LOCAL_SCHEMES = frozenset({"file", "local"})
WRITTEN_SCHEMES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "memory", "s3", "s3a"})
"""Schemes of stores that files can be sent to: backends of fsspec, or well-known ones."""
SCHEMES = LOCAL_SCHEMES | WRITTEN_SCHEMES | {"hf", "http", "https"}
"""Schemes that may be read. For any other, fsspec would import whichever package claims it."""

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_CHAINED = re.compile(r"[\w+.-]+::.*://.*|.*://.*::.*", re.DOTALL)
_MISSPELT = re.compile(rf"(?P<scheme>{'|'.join(sorted(SCHEMES))})(?::/*|//)(?P<rest>[^/].*)", re.DOTALL | re.IGNORECASE)
_SECRET = re.compile(r"[^/@]*:[^/@]*@")
_USER = re.compile(r"[^/@]*@")
_WEB = ("http", "https")
_BUCKETS = "buckets/"
_PART = r"[A-Za-z0-9_][\w.-]*"
_KINDS = {"dataset": "datasets", "model": "models"}
_NAME = re.compile(rf"(?P<kind>(?:{'|'.join(_KINDS.values())})/)?(?P<id>{_PART}/{_PART})/?(?:@(?P<revision>\S+))?")


def foreign_scheme(text: str) -> str | None:
    """Return the scheme that a text begins with, if it is not allowed; otherwise None."""
    match = _ADDRESS.match(text)
    scheme = None if match is None else match["scheme"].lower()
    return None if scheme in SCHEMES else scheme


def split_address(value: str) -> tuple[str, str] | None:
    """Split a URI into its lower-case scheme and the rest after ``://``; None for a path.

    Raises:
        AddressError: the scheme is not allowed, or the URI is misspelt, joins several, or contains a password.

    """
    if _CHAINED.fullmatch(value):
        raise AddressError(f"{value!r} does not name a single location; give a URI such as s3://bucket/prefix")
    match = _ADDRESS.fullmatch(value)
    if match is None:
        wrong = _MISSPELT.fullmatch(value)
        if wrong is not None and not _is_plain_path(value):
            meant = f"{wrong['scheme'].lower()}://{wrong['rest'] if wrong['scheme'] not in LOCAL_SCHEMES else '/...'}"
            raise AddressError(f"{value!r} is neither an existing path nor a valid URI; did you mean {meant}?")
        return None
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme not in SCHEMES:
        raise AddressError(f"{scheme}:// is not allowed; give a path, or a URI of {', '.join(sorted(SCHEMES))}")
    if _SECRET.match(rest) or (scheme in _WEB and _USER.match(rest)):
        raise _secret(rest.partition("@")[2])
    return scheme, rest


def check_public(scheme: str, rest: str) -> None:
    """Refuse a query, which may be a signature: the URI would be published with the recipe.

    Raises:
        AddressError: the URI has a query.

    """
    if scheme in _WEB and "?" in rest:
        raise _secret(rest.partition("?")[0])


def check_written(scheme: str, place: object) -> None:
    """Refuse URIs that cannot be written, or only by ``push``.

    Raises:
        AddressError: the scheme is not one of :data:`WRITTEN_SCHEMES`, nor the URI in a bucket of the Hub.

    """
    if scheme == "hf" and str(place).partition("://")[2].startswith(_BUCKETS):
        return
    if scheme == "hf":
        raise AddressError(f"{place} is on the Hub, to which only `datasetkit push FOLDER user/name` writes")
    if scheme not in WRITTEN_SCHEMES:
        raise AddressError(f"{place} cannot be written to; give a URI of {', '.join(sorted(WRITTEN_SCHEMES))}")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository on the Hub.

    Args:
        repo_id: ``user/name``.
        revision: branch, tag or commit; None if none was named.

    """

    repo_type: RepoType
    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id

    def at(self, revision: str | None) -> Self:
        """Return the repository at a separately given revision; None keeps that of the address.

        Raises:
            AddressError: the address names another revision.

        """
        if None not in {revision, self.revision} and revision != self.revision:
            raise AddressError(f"{self} names the revision {self.revision}, but an option {revision}; give only one")
        return type(self)(self.repo_type, self.repo_id, self.revision if revision is None else revision)

    def check_no_folder(self) -> None:
        """Refuse a name that ``datasets`` would read as a local folder.

        Raises:
            AddressError: there is a folder of this name.

        """
        if Path(self.repo_id).exists():
            raise AddressError(f"a local folder {self.repo_id} would be read instead; change the working directory")


def hub_address(value: str, repo_type: RepoType) -> HubAddress | None:
    """Read the name or URL of a repository on the Hub, in any spelling.

    Accepted are ``user/name``, ``datasets/user/name``, both with ``@revision``, ``hf://datasets/user/name@revision``,
    ``hf://user/name`` (a model) and the URL of the repository's page, on huggingface.co or at ``HF_ENDPOINT``,
    with or without ``https://``, ``www.`` and ``/tree/revision``. The caller checks whether ``user/name`` is a local
    folder.

    Args:
        value: name or URL, as it was typed.
        repo_type: the expected type, which ``user/name`` does not state.

    Returns:
        the repository; None for anything else: a path, or a URI of another store.

    Raises:
        AddressError: it is on the Hub, but not a repository of the expected type, or a file in a repository.

    """
    uri = _hub_uri(value, repo_type)
    if uri is None:
        return None
    from huggingface_hub import constants, parse_hf_uri
    from huggingface_hub.errors import HfUriError

    value = value.partition("?")[0]  # never shown in messages: it may contain a signature
    usual = f"user/name or hf://{'datasets/' if repo_type == 'dataset' else ''}user/name"
    try:
        found = parse_hf_uri(uri, endpoint=constants.ENDPOINT)
    except HfUriError as error:
        raise AddressError(
            f"{value!r} is not the address of a {repo_type} on the Hub: {one_line(error.msg)} Write it as {usual}"
        ) from None
    if found.type != repo_type:
        raise AddressError(f"{value!r} is a {found.type}, but a {repo_type} is needed: {usual}")
    if found.path_in_repo:
        raise AddressError(
            f"{value!r} names {found.path_in_repo} in a repository; give only the repository: {found.id} (a / in a "
            "revision is %2F)"
        )
    return HubAddress(repo_type, found.id, found.revision)


def _hub_uri(value: str, repo_type: RepoType) -> str | None:
    """Return a Hub URL as huggingface_hub reads it; None for everything else."""
    name = _NAME.fullmatch(value)
    if name is not None and not _is_host(value.partition("/")[0]):
        kind = name["kind"] or f"{_KINDS[repo_type]}/"
        return f"hf://{kind}{name['id']}" + (f"@{quote(name['revision'], safe='')}" if name["revision"] else "")
    split = split_address(value)
    scheme, rest = split or ("https", value)
    if scheme == "hf" and rest.startswith(_BUCKETS):
        return None
    if scheme == "hf":
        return f"hf://{rest.lstrip('/')}"
    rest = rest.partition("?")[0]
    host = rest.partition("/")[0]
    if scheme not in _WEB or not _is_host(host):
        return None
    return f"https://{rest.removeprefix(host[:4]) if host.lower().startswith('www.') else rest}"


def _is_host(host: str) -> bool:
    """Whether this host, with or without a port, serves pages of the Hub."""
    if "." not in host and ":" not in host:
        return False
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT.partition("://")[2].partition("/")[0]
    known = {*constants.HF_URL_HOSTS, endpoint.lower()}
    return bool(known & set(_forms(host.lower())))


def _forms(host: str) -> Iterable[str]:
    bare = host.removeprefix("www.")
    return bare, bare.removesuffix(":443").removesuffix(":80")


def _is_plain_path(value: str) -> bool:
    """Whether a path that looks like a misspelt URI exists, or its first folder does, as in ``local//data``."""
    return os.path.lexists(value) or Path(value.partition("/")[0]).is_dir()


def _secret(host: str) -> AddressError:
    return AddressError(
        f"the URI of {host} contains what may be a secret, and would be published with the recipe; give credentials by "
        "environment variables or the configuration of the store"
    )
