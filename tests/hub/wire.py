"""Messages of the test Hub: a request with its body, a response, and a refusal."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 18
# Type ("dataset" or "model") and id of a repository: a data set and a model may have the same id.
Name = tuple[str, str]


class ConnectionDroppedError(Exception):
    """The connection ended early, by the client or on purpose."""


class HubError(Exception):
    """A refusal: its status, the code that clients read, and a message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes [start, start + length) of a file."""

    path: Path
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int = 200
    body: bytes | FileSlice = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def refusal(error: HubError) -> Answer:
    headers = {"X-Error-Message": error.message.encode("ascii", "replace").decode(), **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return as_json({"error": error.message}, error.status, headers)


@dataclass(slots=True)
class Body:
    """The body of a request, read as it arrives. `pause` is called once, after `pause_at` bytes or at the end."""

    file: BufferedIOBase
    headers: Message
    pause_at: int = 0
    pause: Callable[[], object] | None = None
    received: int = 0
    ended: bool = False

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    @property
    def is_empty(self) -> bool:
        return not self.is_chunked and int(self.headers.get("Content-Length", 0)) == 0

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._chunked() if self.is_chunked else self._measured():
            self.received += len(chunk)
            yield chunk
            self._pause_if(self.received >= self.pause_at)
        self.ended = True
        self._pause_if(True)

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def drain(self) -> None:
        """Read the rest of the body, so that the next request of the connection starts correctly."""
        if not self.ended:
            deque(self.chunks(), maxlen=0)

    def _pause_if(self, due: bool) -> None:
        if due and self.pause is not None:
            pause, self.pause = self.pause, None
            pause()

    def _measured(self) -> Iterator[bytes]:
        yield from self._exactly(int(self.headers.get("Content-Length", 0)))

    def _chunked(self) -> Iterator[bytes]:
        while length := int(self.file.readline().split(b";")[0] or b"0", 16):
            yield from self._exactly(length)
            self.file.readline()
        self.file.readline()

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length:
            until_pause = self.pause_at - self.received
            chunk = self.file.read(min(length, CHUNK_BYTES, until_pause if until_pause > 0 else length))
            if not chunk:
                raise ConnectionDroppedError
            length -= len(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class Call:
    """A request for the routes. `names` are the parts of its path, unquoted, and `type`, of a repository."""

    names: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Message
    url: str
    user: str | None
    body: Body

    @property
    def repository(self) -> Name:
        """Return the repository in the path."""
        return self.names["type"], self.names["id"]

    def json(self) -> Any:
        return json.loads(self.body.read())

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[-1].lower() in ("true", "1")
