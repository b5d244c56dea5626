"""A proxy on loopback that passes requests on to a server and spoils some of them."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Mode = str
"""`well`, `error` (500, not passed on), `lost` (passed on, the answer is lost), `slow`."""


class BadProxy:
    """Spoils requests as `choose` says of the nth one; seconds of `slow` are `delay`."""

    def __init__(self, server: str, choose: Callable[[int], Mode], *, delay: float = 0.0) -> None:
        self.server = urlsplit(server)
        self.choose, self.delay = choose, delay
        self.spoiled = 0
        self._count = itertools.count()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def __enter__(self) -> BadProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def mode(self) -> Mode:
        """Return what becomes of the next request."""
        mode = self.choose(next(self._count))
        self.spoiled += mode != "well"
        return mode


class _Handler(BaseHTTPRequestHandler):
    proxy: BadProxy

    def _pass_on(self) -> None:
        mode = self.proxy.mode()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if mode == "error":
            self.send_error(500)
            return
        if mode == "slow":
            time.sleep(self.proxy.delay)
        status, headers, answer = self._ask(body)
        if mode == "lost":
            self.close_connection = True
            return
        try:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except (BrokenPipeError, ConnectionResetError):  # the client did not wait
            self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        server = self.proxy.server
        connection = http.client.HTTPConnection(server.hostname or "", server.port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
