"""The faults that a run of jobs meets: what is begun again, what waits, when the run stops."""

from __future__ import annotations

from collections import Counter

from tune.ending.exits import UnfinishedError
from tune.ending.listener import AGAIN
from tune.execution.jobs import TrainingJob
from tune.execution.machine import Fault

IN_A_ROW = 3
"""Jobs with a fault, without an epoch between them, after which a run stops."""


class FaultCount:
    """What the jobs of a run have met, and whether it can go on."""

    def __init__(self, retries: int) -> None:
        self.stopped = False
        """Whether there were `IN_A_ROW` faults without an epoch between them."""
        self.waiting: dict[str, tuple[TrainingJob, Fault]] = {}
        """Jobs that are not handed out again in this run, by their key."""
        self._retries = retries
        self._row: set[str] = set()
        """The jobs with a fault in a row, by their keys."""
        self._rows: dict[str, int] = {}
        """Faults in a row by then, by the trial that was begun."""
        self._met: Counter[str] = Counter()
        """Faults of a job, by its key: the machine's since its last epoch, and all others."""
        self._deaths: Counter[str] = Counter()
        self._epochs: Counter[str] = Counter()
        """The last epoch of a job, by its key."""
        self._clock = 0
        """Epochs of all jobs."""
        self._first: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        """The clock when a job was first handed out, and at its last epoch, by its key."""
        self._last: tuple[TrainingJob, Fault] | None = None

    def begun(self, trial: str, job: TrainingJob) -> None:
        """Note that a job is handed out: what befalls many at once is one fault in a row."""
        self._rows[trial] = len(self._row)
        self._first.setdefault(job.key, self._clock)

    def went_on(self, job: TrainingJob, epoch: int) -> list[tuple[TrainingJob, Fault]]:
        """Note an epoch; return the jobs that must be at fault themselves, since others go on."""
        if epoch <= self._epochs[job.key]:  # from its checkpoint
            return []
        self._epochs[job.key] = epoch
        self._met[job.key] = 0
        self._row.clear()
        self._clock += 1
        self._newest[job.key] = self._clock
        return self._blamed()

    def blamed_at_last(self) -> list[tuple[TrainingJob, Fault]]:
        """Return the jobs that are at fault, once none is left to go on.

        Of several that no other has outlived, the machine may be at fault; one alone is itself,
        if others went on before it.
        """
        if self.stopped:
            return []
        if len(self.waiting) == 1 and set(self._newest) - set(self.waiting):
            self._first = dict.fromkeys(self.waiting, -1)
        return self._blamed()

    def met(self, trial: str, job: TrainingJob, fault: Fault) -> bool:
        """Note a fault; return whether the job is to be handed out again."""
        self._last = job, fault
        count, most = (self._met, IN_A_ROW - 1) if fault.machine else (self._deaths, self._retries)
        count[job.key] += 1
        again = count[job.key] <= most
        if self._rows.pop(trial, 0) == len(self._row) and (fault.machine or not again):
            self._row.add(job.key)  # one job alone stops no others
            self.stopped = len(self._row) >= IN_A_ROW
        if not again:
            self.waiting[job.key] = self._last
        return again

    def error(self) -> UnfinishedError | None:
        """Return how the run ends where faults have left jobs; None where they have not."""
        left = self._last if self.stopped else next(iter(self.waiting.values()), None)
        if left is None:
            return None
        job, fault = left
        many = f"{IN_A_ROW} faults in a row, the last in " if self.stopped else ""
        return UnfinishedError(f"{many}{job.folder}: {fault.cause}; {fault.remedy}, then {AGAIN}")

    def _blamed(self) -> list[tuple[TrainingJob, Fault]]:
        """Take out the jobs that can be at fault: others have gone on since they were begun."""
        chosen = [
            key
            for key, (_, fault) in self.waiting.items()
            if not fault.machine
            and any(at > self._first[key] for other, at in self._newest.items() if other != key)
        ]
        return [self.waiting.pop(key) for key in chosen]
