"""Faults of a machine, told from failures of what is trained on it.

Hyperparameters make a loss that is not finite; they fill no disk and unmount nothing. So a job
has failed where training itself says so (`TrainingError`). An error of the operating system, of
an import or of Ray's is never the job's. For all else (memory, a GPU's too, a worker that died,
what nobody thought of) either may be to blame: a batch may be too large, or others may fill the
GPU. It is the job's where others go on and it cannot.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from refkd.errors import RefKDError
from tune.ending.exits import UnfinishedError
from tune.ending.listener import AGAIN
from tune.study import database

_MEMORY = "give it more memory, or the search fewer workers or smaller batches"
_SPACE = "free some space there (`df -h` and `df -i` show what there is)"
_MOUNT = "see to the file system and its mount"
_INSTALL = "install the same refkd on every machine"
_RAY = "see to the machine and to Ray on it"
_UNKNOWN = "see to the machine"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _SPACE),
    **dict.fromkeys((errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOTCONN), _MOUNT),
    **dict.fromkeys((errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN), _MOUNT),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give this user the permission"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (`ulimit -n`)"),
    errno.ENOENT: "see that it is there, and its disk mounted",
    errno.EAGAIN: "allow this user more processes (`ulimit -u`)",
    errno.ENOMEM: _MEMORY,
}
"""What to do, by the number of an error that a program without a fault may meet."""
_NUMBER = re.compile(r"(?:os error|[Ee]rrno *=?|Os \{ code:) *(\d+)")
"""How Rust, HDF5 and Python write such a number into a text."""
_DATABASE = re.compile(r"OperationalError[:)] +(?!\()(.+)")
"""How SQLAlchemy, Optuna and Ray write down what a database answers."""
_OF_MEMORY = re.compile(r"MemoryError|[Oo]ut of memory|OutOfMemory|an't allocate memory|ENOMEM")
_OF_MACHINE = {
    r"(?:ImportError|ModuleNotFoundError):": _INSTALL,
    r"(?:OSError|PermissionError|FileNotFoundError|NotADirectoryError|TimeoutError):": _MOUNT,
    r"RuntimeEnvSetupError|RaySystemError|RayletDied|NodeDied|OwnerDied|Unschedulable": _RAY,
    r"OutOfDiskError|ObjectStoreFullError": _SPACE,
    r"node (?:has|was) (?:died|dead|terminated|removed|drained)|raylet (?:has )?died": _RAY,
}
"""What to do, by what Ray writes of an error that nobody in the worker could report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a job could not go on, where training itself has not failed."""

    cause: str
    """In one line."""
    remedy: str = _UNKNOWN
    machine: bool = False
    """Whether it cannot be the job's own."""


def fault_of(error: BaseException) -> Fault:
    """Return what an error in a worker says."""
    cause = _line(error)
    for one in _causes(error):
        if _OF_MEMORY.search(f"{type(one).__name__} {one}") or _number(one) == errno.ENOMEM:
            return Fault(cause=cause, remedy=_MEMORY)
        if isinstance(one, ImportError):
            return Fault(cause=cause, remedy=_INSTALL, machine=True)
        number = _number(one)
        if isinstance(one, OSError) or number in _REMEDIES:
            return Fault(cause=cause, remedy=_REMEDIES.get(number or 0, _MOUNT), machine=True)
    name = type(error).__name__
    speaks = isinstance(error, RefKDError) or cause == name
    return Fault(cause=cause if speaks else f"{name}: {cause}")


def fault_in(text: str) -> Fault:
    """Return what Ray has written down of an error."""
    lines = text.strip().splitlines() or [text]
    cause = lines[-1].strip()
    if _OF_MEMORY.search(cause):
        return Fault(cause=cause, remedy=_MEMORY)
    number = _NUMBER.search(cause)
    if number and int(number[1]) in _REMEDIES:
        return Fault(cause=cause, remedy=_REMEDIES[int(number[1])], machine=True)
    for pattern, remedy in _OF_MACHINE.items():
        if re.search(pattern, text if remedy == _RAY else cause):
            return Fault(cause=cause, remedy=remedy, machine=True)
    return Fault(cause=cause)


def outside(error: BaseException) -> UnfinishedError | None:
    """Return how a command ends with an error that it met in its own process.

    None where the error is none of the machine's: only what a program without a fault may meet is.
    """
    told = next(filter(None, map(_told, _causes(error))), None)
    before = error.__context__
    while before is not None and not isinstance(before, UnfinishedError):
        before = before.__context__
    return told and (before or told)  # the end of what has stopped may meet the same machine


def _told(error: BaseException) -> UnfinishedError | None:
    number = error.errno if isinstance(error, OSError) else None
    remedy = _MEMORY if isinstance(error, MemoryError) else _REMEDIES.get(number or 0)
    if remedy is not None:
        return UnfinishedError(f"{_line(error)}; {remedy}, then {AGAIN}")
    answer = _DATABASE.search(f"{type(error).__name__}: {error}")
    if answer is None:
        return None
    remedy = database.remedy(error, is_file=True, whose="a study's or MLflow's")
    remedy = remedy.removesuffix(f", {database.AGAIN}")
    text = f"the database of the study or of its record: {answer[1].strip()}"
    return UnfinishedError(f"{text}; {remedy}, then {AGAIN}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, then those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _line(error: BaseException) -> str:
    """Return an error as one line; without words of its own it is named."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0]
