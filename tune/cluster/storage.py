"""The folder that all machines share: named, no machine's own, and the one that commands use."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tune.cluster.commands import Command, commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, section

KEYS: Keys = ("metadata", "shared")
OWN = ("/tmp", "/var/tmp", "/dev", "/run", "/home", "/root", "/etc", "/usr", "/proc", "/sys")
"""Folders that are each machine's own."""
MARK = ".writable"
"""What a setup command touches, to see that the shared folder is there."""
_MARKED = re.compile(rf"\btouch\s+[\"']?(/\S*)/{re.escape(MARK)}")

_MOUNT = re.compile(r"mount(?:\.\w+)?")
_REDIRECTED = re.compile(r"(?<!\S)\d?[<>]+\s*[/&~.]\S*")


def shared_of(file: ClusterFile) -> PurePosixPath | None:
    """Return the folder that a `ray up` file calls shared."""
    shared = section(file.content, "metadata").get("shared")
    return PurePosixPath(posixpath.normpath(str(shared))) if shared else None


def within(path: str, folder: PurePosixPath) -> bool:
    """Return whether a path lies in a folder, its `..` resolved.

    >>> [within(path, PurePosixPath("/shared")) for path in ("/shared/runs", "/shared/../x")]
    [True, False]
    """
    return PurePosixPath(posixpath.normpath(path)).is_relative_to(folder)


def is_own(path: str) -> bool:
    """Return whether a path is each machine's own, by all that is known of it."""
    own = path == "/" or any(within(path, PurePosixPath(folder)) for folder in OWN)
    return own or not path.startswith("/")


def check_storage(file: ClusterFile) -> Faults:
    """Yield a shared folder that is not named, or cannot be the same on all machines."""
    shared = shared_of(file)
    if shared is None:
        yield Fault(
            KEYS,
            None,
            "is missing: trials could not go on elsewhere from their checkpoints",
            "name the folder that all machines share, such as /shared/refkd",
        )
        return
    if is_own(str(shared)):
        yield Fault(
            KEYS,
            shared,
            "is each machine's own, not shared",
            "give the absolute path of a network file system",
        )
    elif file.kind == "aws" and not _mounted(file, shared):
        yield Fault(
            KEYS,
            shared,
            "is mounted by no command: new machines have a folder of their own there",
            "mount the file system in initialization_commands",
        )
    for command in commands(file.content):
        yield from _places(command, shared)


def _places(command: Command, shared: PurePosixPath) -> Faults:
    workspace = command.variable("REFKD_WORKSPACE")
    if workspace and not within(workspace, shared):
        remedy = f"set REFKD_WORKSPACE={shared}/mlflow"
        if is_own(workspace):
            what = "keeps MLflow's record on the head alone: it is lost with the head"
            yield Fault(command.keys, workspace, what, remedy, level="note")
        else:
            yield _elsewhere(command, workspace, shared, remedy)
    marked = _MARKED.search(command.text)
    if marked and not within(marked[1], shared):
        yield _elsewhere(command, marked[1], shared, f"write touch {shared}/{MARK}")


def _elsewhere(command: Command, path: str, shared: PurePosixPath, remedy: str) -> Fault:
    return Fault(command.keys, path, f"is not in metadata.shared, which is {shared}", remedy)


def _mounted(file: ClusterFile, shared: PurePosixPath) -> bool:
    folders = {str(shared), *map(str, shared.parents)} - {"/"}
    return bool(folders & {point for c in commands(file.content) for _, point in mounts(c)})


def mounts(command: Command) -> Iterator[tuple[str, str]]:
    """Yield what a command mounts, and where; each line that it adds to /etc/fstab as well."""
    for part in re.split(r"[;&|()]+", _REDIRECTED.sub("", command.text)):
        words = part.split()
        if any(map(_MOUNT.fullmatch, words)) or "/etc/fstab" in command.text:
            words = [word.strip("'\"") for word in words]
            sources = [word for word in words if ":/" in word]
            points = [word for word in words if word.startswith("/")]
            if points:
                yield (sources[0] if sources else ""), points[-1].rstrip("/")
