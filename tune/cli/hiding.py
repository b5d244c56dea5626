"""Keeping passwords out of what a process shows of itself: arguments, messages, tracebacks."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping

from refkd.masking import masked

ARGUMENTS = "REFKD_ARGUMENTS"
"""Variable that hands the arguments of a command from its first process to the next."""


def hide_arguments() -> None:
    """Begin again, as the same process, where a password is among the arguments.

    Everybody on a machine can read the arguments of a process, and Ray writes them into its files.
    """
    handed = os.environ.pop(ARGUMENTS, None)
    if handed is not None:
        sys.argv[1:] = json.loads(handed)
        return
    given = sys.argv[1:]
    shown = [masked(word) for word in given]
    at = len(sys.orig_argv) - len(given)
    if shown != given and sys.orig_argv[at:] == given:
        environment = {**os.environ, ARGUMENTS: json.dumps(given)}
        os.execve(sys.executable, [*sys.orig_argv[:at], *shown], environment)


def hide_in_messages() -> None:
    """Mask every URL in what Python itself prints or logs for this process, whoever wrote it."""
    logging.setLogRecordFactory(_MaskedRecord)
    written = warnings.formatwarning

    def format_warning(*given: object, **named: object) -> str:
        return masked(written(*given, **named))  # type: ignore[arg-type]

    def end_of_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None:
            print_fault(ended.exc_value)

    warnings.formatwarning = format_warning
    threading.excepthook = end_of_thread


def print_fault(error: BaseException) -> None:
    """Print the traceback of an error that nobody expected."""
    print(masked("".join(traceback.format_exception(error))), end="", file=sys.stderr)


class _MaskedRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  # logging's name
        return masked(super().getMessage())

    @property
    def exc_text(self) -> str | None:
        """The traceback, once a formatter has written it."""
        text: Mapping[str, str] = self.__dict__
        return masked(text["traceback"]) if "traceback" in text else None

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        if text is not None:
            self.__dict__["traceback"] = text
