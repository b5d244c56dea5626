"""A proxy on loopback that passes everything on and is late with every answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, urlsplit

_OF_THE_CONNECTION = ("transfer-encoding", "connection", "content-length")


@contextmanager
def slow_proxy(server: str, delay: float) -> Iterator[str]:
    """Yield the address of a proxy of a server whose answers come so many seconds later."""
    facts = {"target": urlsplit(server), "delay": delay}
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), facts))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    target: SplitResult
    delay: float

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = self._ask(body)
        time.sleep(self.delay)
        try:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except (BrokenPipeError, ConnectionResetError):  # the client did not wait
            self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.target.netloc, timeout=60)
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
