"""Ctrl-C, SIGTERM and SIGHUP: each stops `refkd` at any moment, and it says how to continue.

`refkd` begins with this module, before all other imports. A signal ends the program at once while
it starts or ends, and unwinds a command's work as `KeyboardInterrupt` otherwise: after an import,
which could not bear it, and again where a library has swallowed it. Nothing here changes a process
that has not called `hear_signals`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tune import compat
from tune.ending.exits import ExitCode, InterruptedSearchError, UnfinishedError
from tune.ending.listener import STOPPED, Interrupt, Listener

_listener: Listener | None = None


def hear_signals() -> None:
    """Have signals stop this process from now on."""
    global _listener
    if _listener is None and threading.current_thread() is threading.main_thread():
        _listener = Listener()
        _listener.begin()


def ignore_signals() -> None:
    """Undo `hear_signals`."""
    global _listener
    listener, _listener = _listener, None
    if listener is not None:
        listener.end()


@contextmanager
def at_work() -> Iterator[None]:
    """Let a signal unwind the body, which ends in an `InterruptedSearchError` with its code.

    After a call of `give_up` it ends in that error.
    """
    listener = _listener
    if listener is None:
        with stopped_at_once():
            yield
        return
    listener.working = True
    error: BaseException | None = None
    try:
        yield
        if listener.first is not None:  # it came as the last work ended
            error = Interrupt(listener)
    except BaseException as raised:
        error = raised
    listener.working = False
    if error is not None:
        raise listener.end_of(error)


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Turn a `KeyboardInterrupt` of the body into an `InterruptedSearchError`."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedSearchError(STOPPED) from None


@contextmanager
def stopped_calmly(stop: Callable[[], bool]) -> Iterator[bool]:
    """Let the first signal in the body call `stop`, which returns whether the body will end soon.

    Yields whether signals come here at all; raises `KeyboardInterrupt` where one came before.
    """
    listener = _listener
    if listener is None:
        yield False
        return
    if listener.first is not None:
        raise Interrupt(listener)
    listener.calmly = stop
    try:
        yield True
    finally:
        listener.calmly = None


@contextmanager
def to_be_unwound() -> Iterator[None]:
    """Wait for the end of an import in the body: else a signal there ends the program at once."""
    listener = _listener
    if listener is None:
        yield
        return
    listener.held += 1
    try:
        yield
    finally:
        listener.held -= 1


def is_stopping() -> bool:
    """Return whether a signal has come, or the work was given up."""
    return _listener is not None and _listener.is_stopping()


def end_stopped(code: str | int | None) -> None:
    """End a program that was stopped, which must not wait for the threads of its libraries."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or the terminal has hung up
            stream.flush()
    compat.end_process(code if isinstance(code, int) else ExitCode.FAULT)


def end_is_wanted() -> None:
    """Forget a signal that was the usual way to end what ran."""
    if _listener is not None:
        _listener.first = None


@contextmanager
def signals_for_children() -> Iterator[None]:
    """Let the programs that the body starts have all signals as usual."""
    taken = set() if _listener is None else _listener.taken
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, taken)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def give_up(error: UnfinishedError, *, seconds: float) -> None:
    """Interrupt the main thread, from another one, since its work cannot go on.

    `refkd` ends with the error after so many seconds, unless `given_up_in_time` is called before.
    """
    if _listener is not None:
        _listener.give_up(error, seconds)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def given_up_in_time() -> None:
    """Say that the main thread raises the error of `give_up` itself."""
    if _listener is not None:
        _listener.given_up_in_time()


def _in_child() -> None:
    """Let what is forked have its signals for itself."""
    global _listener
    if _listener is not None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _listener.taken)
        _listener = None


os.register_at_fork(after_in_child=_in_child)
