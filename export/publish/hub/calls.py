"""Single calls to the Hub. Owns which failures are retried, the waits, and the error messages."""

from __future__ import annotations

import errno
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TypeGuard, TypeVar

from huggingface_hub import constants, get_session

# HTTPError is the base class of httpx, which huggingface_hub may have under another name.
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from datasetkit.core.errors import HubError
from datasetkit.core.text import connection_fault

_LOG = logging.getLogger(__name__)
_PASSING = frozenset({429, 500, 502, 503, 504})
_NO_ROOM = frozenset({errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EROFS})
_MESSAGE_LENGTH = 300
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\")]+")
_T = TypeVar("_T")


def uses_xet() -> bool:
    """Whether huggingface_hub sends large files through xet storage, which not every Hub has."""
    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


@dataclass(frozen=True, slots=True)
class Patience:
    """Number of attempts of a call, and waits between them.

    Args:
        attempts: total number of calls, at least 1.
        first_wait_s: wait before the second call, doubled before each further one, and shortened randomly by up to
            half, so that many clients do not retry at once.
        max_wait_s: the longest of these waits.
        max_asked_wait_s: longest wait that the Hub may request (``Retry-After``); longer ones end the call.
        max_silence_s: a call fails, and may be retried, if the Hub sends nothing for this time.

    """

    attempts: int = 5
    first_wait_s: float = 1.0
    max_wait_s: float = 30.0
    max_asked_wait_s: float = 600.0
    max_silence_s: float = 300.0

    def wait_s(self, attempt: int) -> float:
        """Return the seconds to wait after failed call number ``attempt`` (from 1)."""
        wait = min(self.first_wait_s * 2 ** (attempt - 1), self.max_wait_s)
        return wait * random.uniform(0.5, 1)  # noqa: S311 - not for security


class HubCaller:
    """Makes calls and turns failures into :class:`HubError` of one line.

    Args:
        repo_id: repository of the calls, for messages.
        token: removed from every message, in case the Hub repeats it; None without one.
        patience: retries of temporary failures.
        writes: whether the calls change the repository, for messages.

    """

    def __init__(self, repo_id: str, token: str | None, patience: Patience, *, writes: bool = True) -> None:
        self._repo_id = repo_id
        self._token = token
        self._patience = patience
        self._writes = writes

    def __call__(self, doing: str, action: Callable[[], _T]) -> _T:
        """Make a call; retry temporary failures: status 429, 500, 502, 503 or 504, or an invalid response.

        Args:
            doing: purpose, such as ``"sending files"``.
            action: the call; it must be safe to repeat.

        Raises:
            HubError: the call failed permanently.

        """
        attempt = 1
        while True:
            try:
                with _ended_by_silence(self._patience.max_silence_s):
                    return action()
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                failure = _cause(error)
                if isinstance(failure, OSError) and failure.filename is not None:
                    raise  # a local file
                wait = self._wait_s(failure, attempt)
                if wait is None:
                    raise self._error(failure, doing, attempt) from error
            except (AttributeError, LookupError, TypeError) as error:
                # From huggingface_hub, if a response is JSON of an unexpected shape.
                answer = f"the response does not fit the request ({type(error).__name__}: {self._cut(str(error))})"
                raise HubError(f"{doing}: {answer}; run the same command again later") from error
            _LOG.warning("%s: %s; waiting %.1f s", doing, self._tell(failure), wait)
            time.sleep(wait)
            attempt += 1

    def _wait_s(self, error: Exception, attempt: int) -> float | None:
        """Return the seconds to wait before the next call, or None if there must not be one."""
        if attempt >= self._patience.attempts or not _may_pass(error):
            return None
        asked = _asked_wait_s(error)
        if asked is None:
            return self._patience.wait_s(attempt)
        return asked if asked <= self._patience.max_asked_wait_s else None

    def _error(self, error: Exception, doing: str, attempt: int) -> HubError:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        message = f"{doing}: {self._tell(error)}"
        if isinstance(error, OfflineModeIsEnabled):
            message = "HF_HUB_OFFLINE is set, so the Hub cannot be reached; unset it"
        elif status == 401 and self._token is None:
            message = f"{message}; {self._repo_id} does not exist, or needs a token: `hf auth login`, or set HF_TOKEN"
        elif status == 401:
            message = f"{message}; the Hub does not accept the token: `hf auth login`, or set HF_TOKEN to a valid one"
        elif status == 403:
            message = (
                f"{message}; the token needs the right to {'write to' if self._writes else 'read'} {self._repo_id}"
            )
        elif status == 404:
            message = f"{message}; {self._repo_id} or a part of it does not exist, or the token has no access"
        elif _may_pass(error):
            kept = "files already sent are kept: " if self._writes else ""
            asked = _asked_wait_s(error)
            waiting = f", which requests a wait of {asked:.0f} s" if asked is not None else ""
            message = f"{message} (tried {attempt} times){waiting}; {kept}run the same command again later"
            if self._writes and uses_xet() and status is None and not isinstance(error, httpx.ConnectError):
                message += ". A Hub without xet storage needs HF_HUB_DISABLE_XET=1"
        return HubError(self._line(message), status)

    def _tell(self, error: Exception) -> str:
        """Describe the response of the Hub, or that there was none, in a few words."""
        if isinstance(error, HfHubHTTPError):
            said = self._cut(error.server_message or error.response.reason_phrase)
            return f"the Hub answered {error.response.status_code} ({said})"
        if _is_no_room(error):
            return f"the local file cannot be written: {error.strerror}"
        if isinstance(error, HTTPError | OSError):
            return f"the Hub cannot be reached ({self._cut(connection_fault(error)) or type(error).__name__})"
        return self._cut(str(error))

    def _cut(self, text: str) -> str:
        """Shorten a text after removing secrets: a token that was cut would no longer be found."""
        return self._line(text)[:_MESSAGE_LENGTH]

    def _line(self, text: str) -> str:
        """Remove the token, queries of URLs, which may contain signatures, and line breaks."""
        text = _QUERY.sub(r"\1", text)
        return " ".join((text.replace(self._token, "<token>") if self._token else text).split())


@contextmanager
def _ended_by_silence(seconds: float) -> Iterator[None]:
    """Let calls of huggingface_hub fail after this time without data; its client would wait forever."""
    session = get_session()
    before = session.timeout
    session.timeout = seconds
    try:
        yield
    finally:
        session.timeout = before


def _cause(error: Exception) -> Exception:
    """Return the error of an upload, which huggingface_hub wraps."""
    while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    if isinstance(error, OfflineModeIsEnabled) or _is_no_room(error):
        return False
    # A response that is not JSON, where JSON is expected, comes from something between us and the Hub.
    return isinstance(error, HTTPError | OSError | json.JSONDecodeError)


def _is_no_room(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def _asked_wait_s(error: Exception) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, 10.2.3)."""
    value = error.response.headers.get("Retry-After") if isinstance(error, HfHubHTTPError) else None
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
