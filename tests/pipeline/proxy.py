"""A proxy between clients and a store, which fails on demand. Owns how a store's faults look on the wire."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FaultyProxy:
    """An HTTP server in front of another; it fails from the n-th request for a file on.

    Args:
        upstream: URL of the store.

    Attributes:
        fault: "500", "403", "dropped", "slow", or None.
        after: number of requests for files that succeed first.
        name: part of the path of the requests that count; others always pass.
        method: method of the requests that count; "" for any.
        seen: method, path and range of each request so far.

    """

    def __init__(self, upstream: str) -> None:
        self.fault: str | None = None
        self.after = 0
        self.name = ".png"
        self.method = ""
        self.seen: list[tuple[str, str, str]] = []
        self._host = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                proxy.answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Forward a request, or fail it."""
        self.seen.append((request.command, request.path, request.headers.get("Range", "")))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self._is_struck(request.command, request.path):
            if self.fault == "dropped":
                request.close_connection = True
                request.connection.close()
                return
            if self.fault in {"500", "403"}:
                self._refuse(request, int(self.fault))
                return
            time.sleep(0.05)
        upstream = http.client.HTTPConnection(self._host)
        upstream.request(request.command, request.path, body, dict(request.headers))
        answer = upstream.getresponse()
        data = answer.read()
        request.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                request.send_header(key, value)
        if answer.getheader("Content-Length") is None:
            request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
        upstream.close()

    def _is_struck(self, method: str, path: str) -> bool:
        if self.fault is None or self.name not in path or self.method not in {"", method}:
            return False
        with self._lock:
            self.after -= 1
            return self.after < 0

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
        code = {500: "InternalError", 403: "AccessDenied"}[status]
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/xml")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(text)
