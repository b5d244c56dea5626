"""The simulated world of one schedule: drivers, workers, storage, server, and time."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from storm.disturb import Faults
from storm.driver import Driver
from storm.process import KilledError, Machines
from storm.schedule import Moment, Schedule
from storm.server import Client, Tracked
from storm.storage import storage_of

from tune.study import lease as lease_module
from tune.study.lease import EXPIRY

RESTART = 5.0
"""Seconds after which somebody runs the same command again."""
MOST = 20_000
"""Happenings after which a study counts as one that never ends."""


class World:
    """Runs a schedule to its end; what breaks a rule on the way stands in `broken`."""

    def __init__(self, schedule: Schedule, folder: Path, tell: Callable[[str], None]) -> None:
        self.schedule, self.folder, self._tell = schedule, folder, tell
        self.file = schedule.file.model_copy(update={"workspace": folder})
        self.machines = Machines(locks=schedule.locks, sleep=self._sleep)
        self.shared = InMemoryStorage()
        self.server = Tracked()
        self.chance = random.Random(f"moments {schedule.seed}")
        self.broken: list[str] = []
        self.disk: dict[int, int] = {}
        """The epoch of each trial's newest checkpoint."""
        self.begun: Counter[int] = Counter()
        """Epochs that were begun, by trial."""
        self.kills: Counter[int] = Counter()
        """How often each trial ran when something was killed."""
        self.drivers: dict[int, Driver] = {}
        self.done = self.quiet = False
        self.faults = Faults(self)
        self._order = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._begin = self.machines.now
        for moment in schedule.moments:
            self.after(moment.at, lambda moment=moment: self._befall(moment))

    def tell(self, what: str) -> None:
        """Note a step."""
        who = self.machines.running
        name = "" if who is None else f" {who.host.name} {who.number}:"
        self._tell(f"{self.machines.now - self._begin:8.1f} s{name} {what}")

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen later."""
        self._order += 1
        heapq.heappush(self._queue, (self.machines.now + seconds, self._order, action))

    def run(self) -> None:
        """Run until nobody is left and nothing can happen any more."""
        self._start(self.machines.hosts[0])
        while self._queue and not self.broken:
            self._next()
            if self._order > MOST:
                self.broken.append("the study never ends")
        self.quiet = True
        for late in self.server.late:
            late()
        self.server.late.clear()

    def close(self) -> None:
        """End what still lives: a rule was broken before its end."""
        for driver in self.drivers.values():
            self.done = True
            self.kill(driver)

    def sync(self) -> None:
        """Send at last, and undisturbed, all that the server lacks."""
        self.quiet = True
        self.machines.now += 20_000
        driver = self._new(self.machines.hosts[0])
        self.act(driver, driver.sync)

    def act(self, driver: Driver, action: Callable[[], None]) -> None:
        """Let a process do something, and bury it if it dies of it."""
        before, self.machines.running = self.machines.running, driver.process
        driver.process.acted = self.machines.now
        try:
            if driver.process.interrupted:
                raise KeyboardInterrupt
            action()
        except KilledError:
            self.kill(driver)
        except (KeyboardInterrupt, lease_module.LeaseError, StorageInternalError) as error:
            self.tell(f"ends: {type(error).__name__} {error}")
            refused = driver.process.launched is None
            driver.leave(error)
            self._gone(driver, RESTART + refused * EXPIRY / 2)
        finally:
            self.machines.running = before

    def step(self, driver: Driver, action: Callable[[], None]) -> None:
        """Let a process do something as soon as it is awake."""
        process = driver.process
        if process.dead:
            return
        if process.stalled > self.machines.now:
            wait = process.stalled - self.machines.now + self.chance.random()
            self.after(wait, lambda: self.step(driver, action))
            return
        self.act(driver, action)

    def kill(self, driver: Driver) -> None:
        """SIGKILL to a driver and its workers."""
        if not driver.process.buried:
            driver.process.buried = True
            self.tell(f"process {driver.process.number} is killed")
            self.kills.update(driver.working())
            self._gone(driver)
            before, self.machines.running = self.machines.running, driver.process
            driver.bury()
            self.machines.running = before

    def worked(self, *, at_least: bool = False) -> float:
        """Return how long drivers were at work: until they ended, or last did anything."""
        launched = [d.process for d in self.drivers.values() if d.process.launched is not None]
        return sum(
            (p.acted if at_least or not p.dead else p.ended) - (p.launched or 0.0)
            for p in launched
        )

    @contextmanager
    def connected(self, client: Client) -> Iterator[None]:
        """Let all connections to the tracking server be one client's."""
        with patch("tune.tracking.store.connect", lambda _: client):
            yield

    # What happens ------------------------------------------------------------------------------

    def _next(self) -> None:
        time, _, action = heapq.heappop(self._queue)
        self.machines.now = max(self.machines.now, time)
        action()

    def _sleep(self, seconds: float) -> None:
        """Let the others go on while the process that runs now waits."""
        sleeper, end = self.machines.me, self.machines.now + seconds
        while self._queue and self._queue[0][0] <= end:
            before, self.machines.running = self.machines.running, None
            self._next()
            self.machines.running = before
        self.machines.now = max(end, self.machines.now)
        if sleeper.dead:
            raise KilledError

    def _new(self, host: Any) -> Driver:
        process = self.machines.start(host)
        driver = Driver(self, process, self.file)
        self.drivers[process.number] = driver
        driver.storage = storage_of(
            self.shared, lambda name, what, action: self.faults.written(driver, name, what, action)
        )
        return driver

    def _start(self, host: Any) -> None:
        driver = self._new(host)
        self.tell(f"process {driver.process.number} is started on {host.name}")
        self.act(driver, driver.begin)

    def client(self, driver: Driver) -> Client:
        return Client(self.server, lambda name, action: self.faults.called(driver, name, action))

    def _gone(self, driver: Driver, seconds: float = RESTART) -> None:
        """Take note that a process has ended; somebody starts another where work is left."""
        self.machines.kill(driver.process)
        driver.process.ended = self.machines.now
        driver.stop_sending()
        if not self.done:
            host = self.chance.choice(self.machines.hosts)
            self.after(seconds, lambda: self._again(host))

    def _again(self, host: Any) -> None:
        if not self.done and all(d.process.dead for d in self.drivers.values()):
            self._start(host)

    def ended(self, driver: Driver, left: int) -> None:
        """Take note that a driver has found nothing more to do."""
        self.tell(f"the search ends, {left} trials left")
        if left == 0 and self.schedule.grown is not None and self.file.budget.trials == 6:
            self.file = self.schedule.grown.model_copy(update={"workspace": self.folder})
        elif left == 0 and driver.file == self.file:  # which may have grown meanwhile
            self.done = True
        self._gone(driver)

    def _befall(self, moment: Moment) -> None:
        host = self.machines.hosts[moment.host]
        alive = [d for d in self.drivers.values() if not d.process.dead]
        self.tell(f"{moment.kind} ({host.name}, {moment.seconds:g} s)")
        if moment.kind == "clock":
            host.ahead += moment.seconds
        elif moment.kind == "second driver":
            self._start(host)
        elif moment.kind == "kill driver":
            for driver in alive[:1]:
                self.kill(driver)
        elif moment.kind == "stall":
            for driver in alive[:1]:
                driver.process.stalled = self.machines.now + moment.seconds
        elif moment.kind == "kill worker":
            for driver in alive[:1]:
                self.step(driver, driver.lose_worker)
