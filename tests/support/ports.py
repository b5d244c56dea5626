"""Ports of this machine that no other test, and no outgoing connection, takes meanwhile."""

from __future__ import annotations

import itertools
import os
import socket
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections (32768 and up), and to `bind` of port 0."""
_held: list[FileLock] = []


def reserve_port() -> int:
    """Return a free port that is this process's own until it ends."""
    folder = Path(tempfile.gettempdir()) / f"refkd-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    first = _PORTS.start + os.getpid() * 7 % len(_PORTS)
    for port in itertools.chain(range(first, _PORTS.stop), range(_PORTS.start, first)):
        lock = FileLock(folder / str(port))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0 and _can_listen(port):
                _held.append(lock)
                return port
        lock.release()
    raise RuntimeError("no port is free")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
