"""Machines and processes of the simulation, and what the search asks of them: clocks and locks."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil


class KilledError(BaseException):
    """SIGKILL: nothing of the process runs after it."""


@dataclass
class Host:
    """A machine with a clock of its own."""

    name: str
    ahead: float = 0.0
    """Seconds by which its clock is ahead of the true time."""


@dataclass
class Process:
    """A driver's process."""

    number: int
    host: Host
    begun: float
    """True time of its start."""
    dead: bool = False
    stalled: float = 0.0
    """True time until which it does nothing."""
    interrupted: bool = False
    """Whether it has got SIGINT."""
    held: Any = None
    """Its lease, once it asks for one."""
    renewed: float = 0.0
    """True time at which it last wrote its name into the study."""
    launched: float | None = None
    """True time at which its launch began."""
    acted: float = 0.0
    """True time at which it last did anything."""
    ended: float = 0.0
    buried: bool = False
    """Whether its end was taken note of."""


@dataclass
class Machines:
    """All processes, the one that runs now, and the true time."""

    hosts: tuple[Host, ...] = field(default_factory=lambda: (Host("ada"), Host("bob")))
    now: float = 1_000_000.0
    processes: list[Process] = field(default_factory=list)
    running: Process | None = None
    lock: Process | None = None
    """Who holds the driver's lock."""
    locks: bool = True
    sleep: Callable[[float], None] = lambda _: None
    """Lets the others go on for so many seconds."""

    def start(self, host: Host) -> Process:
        """Return a new process."""
        made = Process(number=100 + len(self.processes), host=host, begun=self.now)
        self.processes.append(made)
        return made

    def kill(self, process: Process) -> None:
        """End a process; the system frees its lock."""
        process.dead = True
        if self.lock is process:
            self.lock = None

    @property
    def me(self) -> Process:
        """The process that runs now."""
        assert self.running is not None
        return self.running

    # What modules of the platform get in the place of `time`, `os`, `socket`, `signal`, `psutil`.

    def time(self) -> float:
        """Return the time by the clock of the machine that runs now."""
        return self.now + (0.0 if self.running is None else self.running.host.ahead)

    def monotonic(self) -> float:
        """Return a time that no setting of a clock moves."""
        return self.now

    def clock_gettime(self, _: int) -> float:
        """Return a time that no setting of a clock moves."""
        return self.now

    CLOCK_BOOTTIME = 7
    SIGINT, SIG_IGN = signal.SIGINT, signal.SIG_IGN

    def getpid(self) -> int:
        """Return the number of the process that runs now."""
        return self.me.number

    def gethostname(self) -> str:
        """Return the name of the machine that runs now."""
        return self.me.host.name

    def getuser(self) -> str:
        """Return the one user."""
        return "ann"

    def getsignal(self, _: int) -> Any:
        """Return a handler that hears Ctrl-C."""
        return signal.default_int_handler

    def pthread_kill(self, *_: Any) -> None:
        """Interrupt the process that runs now."""
        self.me.interrupted = True

    def token_hex(self, _: int) -> str:
        """Return a name that no other lease has."""
        return f"lease-{self.me.number}"

    def Process(self, number: int) -> _Known:  # noqa: N802
        """Return a process of the machine that runs now."""
        for one in self.processes:
            if (one.number, one.host, one.dead) == (number, self.me.host, False):
                return _Known(one.begun + one.host.ahead)
        raise psutil.NoSuchProcess(number)


@dataclass
class _Known:
    begun: float

    def create_time(self) -> float:
        """Return the start by the clock as it is now: Linux counts back from it."""
        return self.begun


@dataclass
class Lock:
    """A driver's lock; where the file system has none every process takes it."""

    machines: Machines
    owner: Process

    def acquire(self) -> bool:
        """Take the lock unless it is taken, and return whether this process holds it."""
        if not self.machines.locks:
            return True
        if self.machines.lock is None:
            self.machines.lock = self.owner
        return self.machines.lock is self.owner

    def release(self) -> None:
        """Free the lock."""
        if self.machines.lock is self.owner:
            self.machines.lock = None
