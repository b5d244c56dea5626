"""Stores as people name and leave them that hold no study, or no record."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.ports import reserve_port

SECRET = "s3cret"
TEXT = "this is a text\nof two lines, long enough to be read as a header of a page\n"
SERVED = {
    "refusing the user": (401, "text/html", "You are not authenticated"),
    "forbidden to the user": (403, "application/json", '{"error_code": "PERMISSION_DENIED"}'),
    "a page": (200, "text/html", "<html>welcome</html>"),
    "an older MLflow": (404, "text/html", "<title>404 Not Found</title>"),
    "overloaded": (429, "text/html", "slow down"),
    "failing": (500, "application/json", '{"error_code": "INTERNAL_ERROR", "message": "full"}'),
    "behind a dead proxy": (502, "text/html", "bad gateway"),
}
"""How a server answers whatever it is asked."""


def revised(path: Path, revision: str) -> None:
    """Let a database look as if another version had made its tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])


def damage(path: Path) -> None:
    """Overwrite most of a file, not its first bytes."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a SQLite file for one process alone."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield


def broken(kind: str, folder: Path, *, study: Path, record: Path) -> str:
    """Return the URL of a store of a kind; `study` and `record` are whole ones to be copied."""
    path = folder / "store"
    if kind == "text":
        path.write_text(TEXT, encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    elif kind == "a study":
        shutil.copy(study, path)
    elif kind == "a record":
        shutil.copy(record, path)
    elif kind.startswith("revision "):
        shutil.copy(study if "v" in kind.split()[1] else record, path)
        revised(path, kind.split()[1])
    elif kind == "damaged":
        shutil.copy(study, path)
        damage(path)
    elif kind.startswith("journal "):
        path.write_text(
            {"text": TEXT, "line": "one line\n", "json": "[1]\n[2]\n"}[kind.split()[1]]
        )
        return f"journal:{path}"
    elif kind == "down":
        return f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:{reserve_port()}/studies"
    else:  # the URL itself
        return kind.replace("FOLDER", str(folder))
    return f"sqlite:///{path}"


@contextmanager
def served(kind: str) -> Iterator[str]:
    """Give the address of a server of a kind, with a password."""
    code, form, body = SERVED[kind]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(code)
            self.send_header("Content-Type", form)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PATCH = do_PUT = do_DELETE = do_POST  # noqa: N815  # http.server's names

        def log_message(self, format: str, *args: object) -> None:
            """Print no line a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://ann:{SECRET}@127.0.0.1:{made.server_address[1]}"
        made.shutdown()


@contextmanager
def deaf() -> Iterator[str]:
    """Give the address of a server that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
