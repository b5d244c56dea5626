"""Faults at writes to the storage and at calls of the server, and whose writes may be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from storm.process import KilledError, Process
from storm.server import no_answer
from storm.storage import WRITES

from tune.study.launch import WORKED
from tune.study.launches import TOUCH
from tune.study.lease import DRIVER, RENEWAL

if TYPE_CHECKING:
    from storm.driver import Driver
    from storm.world import World


class Faults:
    """Carries out what drivers ask of storage and server, as the schedule has it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ends: Counter[int] = Counter()
        """How often each trial was ended, by Optuna's number for it."""
        self._holder: Process | None = None
        self._writes = self._calls = 0

    def written(self, driver: Driver, name: str, what: Sequence[Any], action: Any) -> Any:
        """Carry out a request to the storage, with what the schedule has for it."""
        if driver.process.dead:
            raise KilledError
        if name not in WRITES or self._world.quiet:
            return action()
        self._writes += 1
        fault = self._world.schedule.writes.get(self._writes)
        if fault is not None:
            self._world.tell(f"write {self._writes}, {name}{what[1:2]}: {fault}")
        if fault == "interrupted":
            raise KeyboardInterrupt
        if fault == "kill before":
            driver.process.dead = True
        if fault in ("kill before", "refused"):
            raise KilledError if fault == "kill before" else StorageInternalError("refused")
        self._watch(driver.process, name, what)
        self._count(name)
        result = action()
        if fault == "kill after":
            raise KilledError
        if fault == "answer lost":
            raise StorageInternalError("the answer is lost")
        return result

    def called(self, driver: Driver, name: str, action: Callable[[], Any]) -> Any:
        """Carry out a request to the tracking server, with what the schedule has for it."""
        if driver.process.dead:
            raise KilledError
        for late in self._world.server.late:
            late()
        self._world.server.late.clear()
        self._calls += not self._world.quiet
        fault = None if self._world.quiet else self._world.schedule.calls.get(self._calls)
        if fault is None:
            return action()
        self._world.tell(f"call {self._calls}, {name}: {fault}")
        if fault == "done late":
            self._world.server.late.append(action)
        elif fault in ("answer lost", "kill after"):
            action()
        if fault.startswith("kill"):
            driver.stop_sending()
            raise KilledError
        raise no_answer()

    def _count(self, name: str) -> None:
        """Hold a new trial to the limit of wall time."""
        limit, launches = self._world.file.budget.wall_hours, len(self._world.drivers)
        if name != "create_new_trial" or limit is None:
            return
        worked = self._world.worked(at_least=True)
        # Killed as it wakes up, a driver has noted nothing of the time for which it stood still.
        stood = sum(m.seconds for m in self._world.schedule.moments if m.kind == "stall")
        if worked > 3600 * limit + launches * TOUCH + stood:
            self._world.broken.append(
                f"a trial was begun after {worked:.0f} s of {3600 * limit:.0f} s"
            )

    def _watch(self, process: Process, name: str, what: Sequence[Any]) -> None:
        """Hold a write to the rule that two drivers never write in one lease."""
        key = what[1] if name == "set_study_user_attr" else None
        if name == "set_trial_state_values" and what[1].is_finished():
            self.ends[what[0]] += 1
        if name == "create_new_study" or (key is not None and key.startswith(WORKED)):
            return  # before the lease, or after it: until when a driver was at work
        if key == DRIVER and what[2] is not None and self._holder is not process:
            if process.renewed:
                self._world.broken.append(f"process {process.number} took its lease back")
            self._taken(process)
        elif self._holder is not process:
            holder = None if self._holder is None else self._holder.number
            self._world.broken.append(
                f"process {process.number} wrote {name}{what[1:2]} in the lease of {holder}"
            )
        if key == DRIVER:
            process.renewed = self._world.machines.now
            if what[2] is None:
                self._holder = None

    def _taken(self, process: Process) -> None:
        before, self._holder = self._holder, process
        if before is not None and not before.dead:  # what its workers train now is lost
            self._world.kills.update(self._world.drivers[before.number].working())
        if before is None or before.dead or before.stalled > self._world.machines.now - RENEWAL:
            return
        self._world.broken.append(
            f"process {process.number} pushed {before.number} out, which is awake"
        )
