"""Proxies on loopback, for what a server does badly: one that is late with every answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

_OF_THE_CONNECTION = ("transfer-encoding", "connection", "content-length")


class Answer(NamedTuple):
    """What the server said to a request."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Relay(BaseHTTPRequestHandler):
    """Passes every request on to `target`; a subclass may come between in `relay`."""

    target: SplitResult

    def relay(self, body: bytes) -> None:
        """Ask the server and give its answer."""
        self.reply(self.ask(body))

    def ask(self, body: bytes) -> Answer:
        """Return what the server says to this request."""
        connection = http.client.HTTPConnection(self.target.netloc, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        try:
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            return Answer(found.status, found.getheaders(), found.read())
        finally:
            connection.close()

    def reply(self, answer: Answer) -> None:
        """Give an answer to whoever asked, if they still wait."""
        try:
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _take(self) -> None:
        self.relay(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _take  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def proxy(server: str, relay: type[Relay]) -> Iterator[str]:
    """Yield the address of a proxy of a server."""
    handler = type("Handler", (relay,), {"target": urlsplit(server)})
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()


@contextmanager
def slow_proxy(server: str, delay: float) -> Iterator[str]:
    """Yield the address of a proxy whose answers come so many seconds later."""

    class Late(Relay):
        def relay(self, body: bytes) -> None:
            answer = self.ask(body)
            time.sleep(delay)
            self.reply(answer)

    with proxy(server, Late) as address:
        yield address
