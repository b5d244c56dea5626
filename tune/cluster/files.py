"""Files on the launcher: what is mounted, the token, the key and the wheel."""

from __future__ import annotations

import stat
from pathlib import Path

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, section

TOKEN = "~/.ray/auth_token"
"""Where Ray looks for its token."""
MAKE_TOKEN = f"run: ray get-auth-token --generate > /dev/null && chmod 600 {TOKEN}"


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
            yield from _secret(keys, path, "the token", MAKE_TOKEN)
        elif not path.exists():
            remedy = "run `make wheel`" if path.name == "dist" else "give a path that exists"
            yield Fault(keys, local, "is not there, seen from the folder this was run in", remedy)
    key = section(file.content, "auth").get("ssh_private_key")
    if key is not None:
        remedy = f"make a key for this cluster alone: ssh-keygen -t ed25519 -f {key}"
        yield from _secret(("auth", "ssh_private_key"), Path(str(key)), "the key", remedy)
    yield from _wheels(file)


def _secret(keys: Keys, path: Path, name: str, remedy: str) -> Faults:
    there = path.expanduser()
    if not there.is_file() or there.stat().st_size == 0:
        yield Fault(keys, path, f"{name} is not there", remedy)
    elif stat.S_IMODE(there.stat().st_mode) & 0o077:
        yield Fault(keys, path, f"{name} can be read by others", f"run: chmod 600 {path}")


def _wheels(file: ClusterFile) -> Faults:
    """Where a command installs refkd's wheel, exactly one must be mounted."""
    installs = [c for c in commands(file.content) if ".whl" in c.text and "pip" in c.text]
    mounts = section(file.content, "file_mounts")
    if not installs:
        yield Fault(
            ("setup_commands",),
            None,
            "installs no wheel of refkd",
            "mount ./dist and install it, as the file that ships does",
        )
    for remote, local in mounts.items():
        path = Path(str(local)).expanduser()
        if not path.is_dir() or not any(f"{remote}/" in c.text for c in installs):
            continue
        found = sorted(wheel.name for wheel in path.glob("refkd-*.whl"))
        if len(found) != 1:
            yield Fault(
                ("file_mounts", remote),
                local,
                f"holds {len(found)} wheels of refkd instead of one",
                "run `make wheel`, which leaves one",
            )
