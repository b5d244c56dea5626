"""The folder that all machines share: named, and no machine's own."""

from __future__ import annotations

from pathlib import PurePosixPath

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, section

KEYS: Keys = ("metadata", "shared")
OWN = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root")
"""Folders that are each machine's own."""


def shared_of(file: ClusterFile) -> PurePosixPath | None:
    """Return the folder that a `ray up` file calls shared."""
    shared = section(file.content, "metadata").get("shared")
    return PurePosixPath(str(shared)) if shared else None


def within(path: str, folder: PurePosixPath) -> bool:
    """Return whether a path lies in a folder."""
    return PurePosixPath(path).is_relative_to(folder)


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
    if not shared.is_absolute() or any(within(str(shared), PurePosixPath(o)) for o in OWN):
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
        workspace = command.variable("REFKD_WORKSPACE")
        if workspace and not within(workspace, shared):
            yield Fault(
                command.keys,
                workspace,
                "keeps MLflow's record on the head alone: it is lost with the head",
                f"set REFKD_WORKSPACE={shared}/mlflow",
                level="note",
            )


def _mounted(file: ClusterFile, shared: PurePosixPath) -> bool:
    points = {str(shared), *map(str, shared.parents)} - {"/"}
    mounts = (c.text.split() for c in commands(file.content) if "mount " in c.text)
    return any("-t" in words and points & set(words) for words in mounts)
