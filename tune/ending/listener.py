"""What hears Ctrl-C, SIGTERM and SIGHUP for `tune.ending.stopping`.

SIGTERM and SIGHUP are blocked in all threads and taken by one that waits for them. Ray puts a
handler of its own in C++ at SIGTERM, which prints a stack, and the system's default later, and
neither may be called. And where all processes of a group are hung up, Ray's own among them, the
signal is to be heard before their death is, even while the main thread waits in Ray.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from refkd.errors import RefKDError
from tune import compat
from tune.ending.exits import ClusterLostError, ExitCode, InterruptedSearchError, UnfinishedError

AGAIN = "run the same command again to continue"
STOPPED = f"stopped at once; {AGAIN}"
_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGHUP: ExitCode.HANGUP,
    signal.SIGTERM: ExitCode.TERMINATED,
}
_NUDGE = signal.SIGURG
"""What the threads here send each other to have a look; the system ignores it by default."""
_PAUSE = 0.05
"""Seconds until a signal is raised again that could not be, or was swallowed."""
_GRACE = 10.0
"""Seconds that a command has to unwind after the second signal."""


class Interrupt(KeyboardInterrupt):
    """What unwinds a command; one that is dropped on its way is raised again."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def __del__(self) -> None:
        self._listener.raise_again()


class Listener:
    """What hears the signals of this process, in handlers and in a thread of its own."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        """The signal that stops this process."""
        self.working = False
        """Whether a command runs."""
        self.held = 0
        """How many things it holds that have to be unwound."""
        self.calmly: Callable[[], bool] | None = None
        self._again = False
        self.given_up: UnfinishedError | None = None
        """Why the work cannot go on."""
        self._hopeless = False
        self.told = False
        """Whether it is said elsewhere how the process ends."""
        self._process = os.getpid()
        self._deadline: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name="refkd-signals", daemon=True)
        self.taken: set[signal.Signals] = set()
        """The signals that the thread waits for."""
        self._before: dict[signal.Signals, Any] = {}
        self._hook = sys.unraisablehook

    def begin(self) -> None:
        """Install the handlers, but none for what is ignored, as `nohup` and `&` have it."""
        self.taken = {signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self.taken.add(signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, self.taken)
        for number in (*_CODES, _NUDGE):
            if number == _NUDGE or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        sys.unraisablehook = self._unraisable
        self._thread.start()

    def end(self) -> None:
        """Put everything back."""
        self._ended = True
        self._wake()
        self._thread.join()
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.taken)

    def is_stopping(self) -> bool:
        """Return whether a signal has come, or the work was given up."""
        return self.first is not None or self.given_up is not None

    def raise_again(self) -> None:
        """Have the main thread interrupted a moment later, if it is still at work."""
        if self.working and self.is_stopping() and os.getpid() == self._process:
            self._again = True
            self._wake()

    def give_up(self, error: UnfinishedError, seconds: float) -> None:
        """Interrupt the main thread at once; end the process with the error if it does not end."""
        if not self._hopeless:
            self._hopeless, self._deadline = True, time.monotonic() + seconds
            self.given_up = error if self.first is None else None  # else what the signal met
            self.raise_again()

    def given_up_in_time(self) -> None:
        """Say that the main thread has unwound what `give_up` was about."""
        self._deadline, self._again = None, False

    def code(self) -> ExitCode:
        """Return the exit code of the signal; Ctrl-C's where there was none."""
        return _CODES[self.first or signal.SIGINT]

    def end_of(self, error: BaseException) -> BaseException:
        """Return what a command ends with that has ended with an error."""
        stopped = self.first is not None or isinstance(error, KeyboardInterrupt)
        if self.given_up is not None:
            error = self.given_up
        elif stopped and (
            isinstance(error, ClusterLostError) or not isinstance(error, RefKDError | SystemExit)
        ):  # of the signal too: it met Ray as well, or the terminal cannot be written to
            error = InterruptedSearchError(STOPPED)
        if isinstance(error, InterruptedSearchError):
            error.code = self.code()
        self.told = isinstance(error, UnfinishedError)
        return error

    def _note(self, number: signal.Signals) -> None:
        if self.first is None:
            self.first = number
        elif self._deadline is None:
            self._deadline = time.monotonic() + _GRACE

    def _heard(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread."""
        if os.getpid() != self._process:  # a copy that is about to run another program
            return
        if number != _NUDGE:
            self._note(signal.Signals(number))
        elif not self.working or not self.is_stopping():  # it ended meanwhile
            return
        fragile = _is_fragile(frame)
        if not self.working or (fragile and not self.held):
            self._leave()
        if fragile:
            self.raise_again()
            return
        calmly, self.calmly = self.calmly, None
        if calmly is not None and not self._hopeless and calmly():
            return
        raise Interrupt(self)

    def _listen(self) -> None:
        """Take signals, raise again what was not heard, and keep the deadline."""
        main = threading.main_thread().ident or 0
        signal.pthread_sigmask(signal.SIG_BLOCK, {*self.taken, _NUDGE})
        while not self._ended:
            seconds = _PAUSE if self._again or self._deadline is not None else 3600.0
            taken = signal.sigtimedwait({*self.taken, _NUDGE}, seconds)
            if taken is not None and taken.si_signo in self.taken:
                self._note(signal.Signals(taken.si_signo))
                if not self.working:
                    self._leave()
                signal.pthread_kill(main, _NUDGE)
            elif taken is None and self._again:
                self._again = False
                signal.pthread_kill(main, _NUDGE)
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._leave()

    def _wake(self) -> None:
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident or 0, _NUDGE)

    def _leave(self) -> None:
        """End the process here and now: nothing is lost that was written."""
        words = "" if self.told else f"refkd: {self.given_up or STOPPED}\n"
        if os.isatty(2):
            words = f"\x1b[?25h{words}"  # a live table hides the cursor
        with suppress(OSError):  # the terminal may be gone
            os.write(2, words.encode())
        compat.end_process(self.given_up.code if self.given_up else self.code())

    def _unraisable(self, hook: Any) -> None:
        if not isinstance(hook.exc_value, Interrupt):  # that one is raised again
            self._hook(hook)


def _is_fragile(frame: FrameType | None) -> bool:
    """Return whether an import or a finaliser runs, in which no exception may be raised."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
