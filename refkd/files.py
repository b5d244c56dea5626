"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from refkd.errors import DataError

_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is synced and takes `path`'s place.

    On an exception the temporary file is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_absent(out: Path) -> None:
    """Raise `DataError` where something already stands at `out`."""
    if out.exists():
        raise DataError(f"{out}: exists; give another folder or remove it first")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@contextmanager
def renamed(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`; on success it takes `out`'s name, else it is removed.

    What killed processes of this machine have left of the same `out` is removed first.
    """
    require_absent(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{out.name}.{socket.gethostname()}"
    for left in out.parent.glob(f"{escape(mine)}.*.tmp"):
        maker = left.name.split(".")[-3]
        if maker.isdecimal() and not _lives(int(maker)):
            shutil.rmtree(left, ignore_errors=True)
    temporary = out.with_name(f"{mine}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        require_absent(out)
        temporary.rename(out)
        sync_directory(out.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield an empty folder, removed afterwards; what a killed process left in it goes first.

    Only one process at a time may use a path: it holds a lock, or a study's lease.
    """
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def temporaries(folder: Path) -> list[Path]:
    """Return what `replaced` is writing anywhere below `folder`, or left there when killed."""
    found = folder.rglob(".*.tmp") if folder.is_dir() else ()
    return sorted(path for path in found if _TEMPORARY.fullmatch(path.name))


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def user_cache() -> Path:
    """Return the folder for what can be made again: `$XDG_CACHE_HOME/refkd`, `~/.cache/refkd`.

    A user without a home has it among the temporary files; `DataError` where others may write it.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "refkd"
    try:
        return Path.home() / ".cache" / "refkd"
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / f"refkd-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    held = folder.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o077:
        raise DataError(f"{folder}: may be written by others; set XDG_CACHE_HOME, or HOME")
    return folder


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON with sorted keys, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def canonical_json(value: Any) -> bytes:
    """Return the one JSON spelling of `value` that hashes are taken over."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv"),
    *(".wmv", ".ogv", ".3gp"),
)
"""How the names of video files end."""


def encodable(text: str) -> bool:
    """Return whether a text can be written as UTF-8: half a surrogate pair cannot.

    >>> encodable("ein Türgriff"), encodable("\\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
