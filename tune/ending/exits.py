"""How a command ends: the exit codes of `refkd`, and errors that have one of their own."""

from __future__ import annotations

import signal
from enum import IntEnum

from refkd.errors import RefKDError

_BY_SIGNAL = 128
"""What shells add to the number of a signal that has ended a program."""


class ExitCode(IntEnum):
    """The exit codes of every command; `docs/search.md` has the same table for people."""

    DONE = 0
    """What was asked for is done."""
    DISAGREES = 1
    """Something was looked at and is not as it should be."""
    MISTAKE = 2
    """The command cannot do what was asked for: the message names what to change."""
    LEFT = 3
    """Work is left, since something outside the command has to be mended or waited for."""
    NONE_COMPLETE = 4
    """Training has ended, and nothing that counts has come of it."""
    RUN_AGAIN = 5
    """The Ray cluster died: the same command goes on."""
    FAULT = 70
    """A fault of `refkd` itself, with its traceback; sysexits.h has this number for that."""
    HANGUP = _BY_SIGNAL + signal.SIGHUP
    INTERRUPTED = _BY_SIGNAL + signal.SIGINT
    TERMINATED = _BY_SIGNAL + signal.SIGTERM


class UnfinishedError(RefKDError):
    """Work that has ended early through no mistake of the user: the cause, and how to continue."""

    code: ExitCode = ExitCode.LEFT
    """What the command line exits with."""


class NoneCompleteError(UnfinishedError):
    """Training that has ended with nothing to go on from."""

    code = ExitCode.NONE_COMPLETE


class InterruptedSearchError(UnfinishedError):
    """Work was stopped by the user, or a signal; the message says how to continue."""

    code = ExitCode.INTERRUPTED


class ClusterLostError(UnfinishedError):
    """Ray has died under the work; the message says what of it."""

    code = ExitCode.RUN_AGAIN
