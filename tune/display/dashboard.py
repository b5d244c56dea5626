"""optuna-dashboard for this machine alone, read-only unless asked otherwise.

`python -m tune.display.dashboard FILE` serves the storage that a private JSON file names. A page
on the internet can make a browser send requests to 127.0.0.1 under a name of its own (DNS
rebinding), and optuna-dashboard checks no name: such a page could delete the study.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from refkd.urls import Url

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication


def guarded(app: WSGIApplication, names: Collection[str], *, writable: bool) -> WSGIApplication:
    """Return an application that answers 403 to other names than its own, and to writing.

    `names` are the answered values of `Host`, with the port; an `Origin` must be one of them too.
    """

    def answer(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        asked = {environ.get("HTTP_HOST", "").lower()}
        if origin is not None:
            asked.add(origin.removeprefix("http://").lower())
        if not asked <= set(names):
            return _refuse(start, f"this page answers {' and '.join(names)} alone")
        if not writable and environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
            return _refuse(start, "the study is shown read-only; start `refkd ui --writable`")
        return app(environ, start)

    return answer


def _refuse(start: StartResponse, reason: str) -> Iterable[bytes]:
    start("403 Forbidden", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print no line a request."""


def serve(storage: str, host: str, port: int, *, writable: bool) -> None:
    """Serve a study's storage until the process is ended."""
    from optuna_dashboard import wsgi

    from tune.study.storage import open_storage

    names = [f"{host}:{port}", f"localhost:{port}"]
    if port == 80:  # which no browser names
        names += [host, "localhost"]
    app = guarded(wsgi(open_storage(Url(storage), write=writable)), names, writable=writable)
    with make_server(host, port, app, server_class=_Server, handler_class=_Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
