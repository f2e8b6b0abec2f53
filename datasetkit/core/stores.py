"""Remote stores, opened through fsspec. Owns the package that each needs, and one-line messages of their errors."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import Any

from datasetkit.core.errors import AddressError, MissingPackageError
from datasetkit.core.text import one_line

S3_PROTOCOLS = frozenset({"s3", "s3a"})
_HINTS = {
    "NoCredentialsError": "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "EndpointConnectionError": "; AWS_ENDPOINT_URL names another",
}


@functools.lru_cache(maxsize=64)
def open_store(address: str) -> tuple[Any, str]:
    """Return the store of a URI, and the path of the URI in it.

    Raises:
        MissingPackageError: the package of the store is not installed.
        AddressError: fsspec does not know the store.

    """
    import fsspec

    protocol = address.partition("://")[0]
    try:
        store, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        fix = "run: pip install 'datasetkit[s3]'" if protocol in S3_PROTOCOLS else with_hint(error)
        raise MissingPackageError(f"{address} needs a package that is not installed; {fix}") from None
    except ValueError as error:
        raise AddressError(f"{address} cannot be opened: {with_hint(error)}") from error
    return store, str(path).rstrip("/")


@functools.cache
def failures() -> tuple[type[BaseException], ...]:
    """Return the error classes of installed store packages that are not an ``OSError``."""
    found: list[type[BaseException]] = [OSError, ValueError, RuntimeError, asyncio.TimeoutError]
    with suppress(ImportError):
        from aiohttp import ClientError

        found.append(ClientError)
    with suppress(ImportError):
        from botocore.exceptions import BotoCoreError
        from botocore.exceptions import ClientError as AwsError

        found += [BotoCoreError, AwsError]
    return tuple(found)


def with_hint(error: BaseException) -> str:
    """Return the message of an error in one line, with a hint if one is known."""
    return f"{one_line(error)}{_HINTS.get(type(error).__name__, '')}"
