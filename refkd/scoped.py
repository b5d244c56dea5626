"""What holds for the whole process, set while a body runs and put back after it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def variables(wanted: Mapping[str, str], *, kept: Collection[str] = ()) -> Iterator[None]:
    """Set variables of the environment that the user has not set; put back `kept` ones as well.

    >>> with variables({"REFKD_DOCTEST": "1"}):
    ...     os.environ["REFKD_DOCTEST"]
    '1'
    >>> "REFKD_DOCTEST" in os.environ
    False
    """
    before = {name: os.environ.get(name) for name in (*wanted, *kept)}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, held in before.items():
            if held is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = held


@contextmanager
def log_levels(wanted: Mapping[str, int]) -> Iterator[None]:
    """Set the levels of loggers by their names.

    A library that sets its logger's level when it is imported is to be imported before.
    """
    before = {name: logging.getLogger(name).level for name in wanted}
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def handlers_kept(*numbers: signal.Signals) -> Iterator[None]:
    """Put back the handlers of signals that the body sets: only the main thread can set any."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
