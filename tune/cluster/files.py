"""Files on the launcher: what is mounted, the token, the keys, and what commands use of it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, section

TOKEN = "~/.ray/auth_token"
"""Where Ray looks for its token."""
MAKE_TOKEN = f"run: ray get-auth-token --generate > /dev/null && chmod 600 {TOKEN}"
_HOME = re.compile(r"(?:\$HOME|\$\{HOME\}|/home/[^/\s]+|/root|~)/")
_BROUGHT = re.compile(r"~/(?:refkd-files|\.ray/tls)/[^\s;&|()<>\[\]\"'`$]*")
"""What comes by file mounts alone."""


def check_files(file: ClusterFile) -> Faults:
    """Yield sources of file mounts that are not there, and secrets that others can read."""
    mounts = section(file.content, "file_mounts")
    if file.content.get("file_mounts") is not None and TOKEN not in mounts:
        yield Fault(
            ("file_mounts", TOKEN),
            None,
            "is missing: the machines would have no common token",
            f'add the line "{TOKEN}": "{TOKEN}"',
        )
    for remote, local in mounts.items():
        keys: Keys = ("file_mounts", remote)
        path = Path(str(local)).expanduser()
        if remote == TOKEN:
            yield from _token(keys, local)
        elif not path.exists():
            remedy = "run `make wheel`" if path.name == "dist" else "give a path that exists"
            yield Fault(keys, local, "is not there, seen from the folder this was run in", remedy)
    yield from _used(file)


def check_secret(keys: Keys, local: object, name: str, remedy: str) -> Faults:
    """Yield a file with a secret that is not there, is empty, or can be read by others."""
    path = Path(str(local)).expanduser()
    if not path.is_file():
        yield Fault(keys, local, f"{name} is not there", remedy)
    elif not os.access(path, os.R_OK):
        yield Fault(keys, local, f"{name} cannot be read", f"run: chmod 600 {local}")
    elif not path.read_bytes().strip():
        yield Fault(keys, local, f"{name} is not there: its file is empty", remedy)
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Fault(keys, local, f"{name} can be read by others", f"run: chmod 600 {local}")


def _token(keys: Keys, local: object) -> Faults:
    path = Path(str(local)).expanduser()
    if path.is_file() and os.access(path, os.R_OK) and len(path.read_bytes().split()) > 1:
        yield Fault(
            keys,
            local,
            "holds no token, which is one word",
            f'write "{TOKEN}": "{TOKEN}"; for a new token {MAKE_TOKEN}',
        )
    else:
        yield from check_secret(keys, local, "the token", MAKE_TOKEN)


def _used(file: ClusterFile) -> Faults:
    """Commands that use what no file mount brings, or what is not in the folder it brings."""
    mounts = {_at_home(str(remote)): str(local) for remote, local in _mounts(file)}
    for command in commands(file.content):
        for path in dict.fromkeys(_BROUGHT.findall(_HOME.sub("~/", command.text))):
            path = path.rstrip("/,.:")
            over = [m for m in mounts if f"{path}/".startswith(f"{m}/")]
            if not over and not any(m.startswith(f"{path}/") for m in mounts):
                yield Fault(
                    command.keys,
                    path,
                    "is brought by none of file_mounts",
                    "mount it, or use a path that is mounted",
                )
                continue
            for mount in over:
                inner = path.removeprefix(mount).lstrip("/")
                folder = Path(mounts[mount]).expanduser()
                known = folder.exists() and not set("*?{") & set(inner)
                if known and not (folder / inner).exists():
                    what = f"is not in {mounts[mount]}, which is mounted there"
                    yield Fault(command.keys, path, what, "give a file that exists")


def _mounts(file: ClusterFile) -> list[tuple[object, object]]:
    return list(section(file.content, "file_mounts").items())


def _at_home(path: str) -> str:
    return _HOME.sub("~/", path).rstrip("/")
