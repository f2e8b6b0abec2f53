"""A test Hub on loopback: enough of its HTTP for the real huggingface_hub, datasets and peft, with faults."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

from tests.hub.orders import Order
from tests.hub.routes import find
from tests.hub.state import State
from tests.hub.store import Repository
from tests.hub.traffic import Request
from tests.hub.wire import Answer, Body, Call, ConnectionDroppedError, FileSlice, HubError, refusal


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # The headers and the body of an answer are two writes; without this the second waits for the client's word.
    disable_nagle_algorithm = True
    server: Server

    def answer(self) -> None:
        state = self.server.state
        path, _, query = self.path.partition("?")
        route, names = find(self.command, path)
        order = Order(state, state.faults.meet(f"{route.kind} {self.command} {path}"), names)
        body = Body(self.rfile, self.headers, order.pause_at, order.pause)
        request = state.traffic.begin(Request(route.kind, self.command, self.path, None))
        try:
            try:
                request.user = None if route.anonymous else state.user(self.headers.get("Authorization"))
                call = Call(names, parse_qs(query), self.headers, self.path, request.user, body)
                order.before(body)
                answer = order.after(route.answer(state, call))
            except HubError as error:
                answer = refusal(error)
            body.drain()
            request.received = body.received
            self._send(answer, request, order)
        except (ConnectionDroppedError, ConnectionError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - whatever it is, `HubServer` raises it at its end
            self.server.errors.append(error)
            self.close_connection = True
        finally:
            request.received = body.received

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names are the base class's

    def _send(self, answer: Answer, request: Request, order: Order) -> None:
        if order.keeps_silent:
            raise ConnectionDroppedError
        limit = answer.length if order.cut_at is None else min(order.cut_at, answer.length)
        # Before the first byte: a test may look as soon as its client has the answer.
        request.status, request.sent = answer.status, 0 if self.command == "HEAD" else limit
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body[:limit])
        else:
            self._send_file(answer.body, limit)
        if order.cut_at is not None:
            raise ConnectionDroppedError

    def _send_file(self, part: FileSlice, limit: int) -> None:
        with part.path.open("rb") as file:
            if limit:
                self.connection.sendfile(file, part.start, limit)

    def log_message(self, *_: Any) -> None:
        """Log nothing: `Traffic` has all requests."""


class Server(ThreadingHTTPServer):
    """The listening socket, the open connections, and errors of the server itself."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    state: State

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.errors: list[BaseException] = []
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Keep the error, unless the client went away between two requests."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)

    def stop(self) -> None:
        """Stop listening, and close the connections that clients keep for their next request."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class HubServer:
    """A test Hub, from `with` to its end. An error in the server itself is raised at the end.

    Args:
        tokens: The user of each token. A user writes to repositories under the own name, and only the owner sees
            private ones.
        folder: Folder of the content; a temporary folder by default.
        part_bytes: Larger objects are sent in parts of this size.
        page_entries: Entries in a page of the tree.
    """

    def __init__(
        self,
        tokens: Mapping[str, str] | None = None,
        folder: Path | None = None,
        part_bytes: int = 1 << 20,
        page_entries: int = 1000,
    ) -> None:
        self.tokens = dict(tokens or {"hf_test": "user"})
        self.token = next(iter(self.tokens))
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self._server = Server()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        place = folder or Path(self._temporary.name if self._temporary else "")
        self.state = State(place, self.endpoint, self.tokens, part_bytes, page_entries)
        self._server.state = self.state
        self.faults = self.state.faults
        self.traffic = self.state.traffic

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._server.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
        if self._server.errors and error is None:
            raise self._server.errors[0]

    def create(self, repository_id: str, *, private: bool = False, repo_type: str = "dataset") -> Repository:
        """Create a repository directly, without a request."""
        return self.state.create((repo_type, repository_id), private=private)

    def repository(self, repository_id: str, repo_type: str = "dataset") -> Repository:
        """Return an existing repository, whoever may see it."""
        return self.state.repositories[repo_type, repository_id]

    def environment(self, home: Path, token: str | None = "") -> dict[str, str]:
        """Return the environment of a process that talks to this Hub, with all caches under `home`.

        `token` is this Hub's first if none is given, and none at all if None.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        if token is not None:
            ours["HF_TOKEN"] = token or self.token
        return kept | ours
