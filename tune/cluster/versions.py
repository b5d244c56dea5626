"""What the machines install: exact versions, and those of the project's lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from refkd.errors import RefKDError
from tune.cluster.commands import Command, commands, split
from tune.cluster.findings import Fault, Faults
from tune.cluster.source import ClusterFile, section

LOCK = "constraints.txt"
_FLAGS = {
    *("-q", "--quiet", "-U", "--upgrade", "--user", "--pre", "--no-cache-dir", "--no-deps"),
    *("--disable-pip-version-check", "--force-reinstall", "--no-build-isolation", "--no-index"),
}
"""Options of pip that take no value; all others are followed by one."""
_PIP = re.compile(r"\bpip3?\s+install\b([^;&|]*)")


def check_versions(file: ClusterFile) -> Faults:
    """Yield what is installed without an exact version, or with another than the lock's."""
    path = lock_of(file)
    locked = read_lock(path)
    if not locked:
        yield Fault(
            ("file_mounts",),
            path,
            "the project's lock is not there, so that no version can be compared",
            f"run this in the project's root, where {LOCK} lies",
        )
    for command in commands(file.content):
        for install in _installs(command):
            yield from _faults(command, install, locked)


def lock_of(file: ClusterFile) -> Path:
    """Return the lock that the file mounts; else that of the folder this is run in."""
    mounted = section(file.content, "file_mounts").values()
    named = [Path(str(p)).expanduser() for p in mounted if str(p).endswith(LOCK)]
    return named[0] if named else Path(LOCK)


def read_lock(path: Path) -> dict[str, str]:
    """Return version by canonical name; nothing where there is no lock.

    Raises `RefKDError` where a line of it is no requirement.
    """
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        pins = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    except InvalidRequirement as error:
        raise RefKDError(f"{path}: {error}; write the file anew with `make lock`") from None
    return {canonicalize_name(p.name): str(p.specifier).removeprefix("==") for p in pins}


def _installs(command: Command) -> Iterator[list[str]]:
    # A shell substitution may hold the `|` and `;` that end a command.
    text = re.sub(r"\$\([^)]*\)", "$(…)", command.text)
    for found in _PIP.finditer(text):
        yield split(found[1])


def _faults(command: Command, words: list[str], locked: Mapping[str, str]) -> Faults:
    bound = any(word.endswith(LOCK) for word in words) or "--no-deps" in words
    option = ""
    for word in words:
        takes_value, option = bool(option), ""
        if word.startswith("-"):
            option = "" if word in _FLAGS or "=" in word else word
            continue
        if takes_value:
            continue
        if word.startswith(("$(", "~", "/", ".")) and not word.startswith("$(…)["):
            continue  # a file without its dependencies, or a variable
        if word.startswith("$(…)"):
            if not bound:
                yield Fault(
                    command.keys,
                    word,
                    "is installed with whatever versions its ranges allow",
                    f"add --constraint and the mounted {LOCK}",
                )
            continue
        yield from _requirement(command, word, locked, bound=bound)


def _requirement(command: Command, word: str, locked: Mapping[str, str], *, bound: bool) -> Faults:
    try:
        wanted = Requirement(word)
    except InvalidRequirement:
        yield Fault(command.keys, word, "is no requirement that pip knows", "write NAME==VERSION")
        return
    version = locked.get(canonicalize_name(wanted.name))
    remedy = f"write {wanted.name}=={version or 'VERSION'}"
    pin = re.fullmatch(r"==([\w.]+)", str(wanted.specifier))
    if wanted.url is not None:
        yield Fault(command.keys, wanted.url, "comes from an address, not by version", remedy)
    elif pin is None and not (bound and version):
        yield Fault(command.keys, word, "has no exact version", remedy)
    elif pin is not None and version not in (None, pin[1]):
        yield Fault(command.keys, word, f"differs from {version} of {LOCK}", remedy)
