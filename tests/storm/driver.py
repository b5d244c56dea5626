"""A driver and its workers: the real study, searcher and lease, with training by the clock."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from storm.process import KilledError, Process
from storm.tracking import Tracking
from support.recorded_curves import TABLE

from tune.config.study_file import StudyFile
from tune.execution.progress import Reporter
from tune.execution.searcher import JobSearcher
from tune.execution.study_jobs import SearchJobs
from tune.execution.worker import FAILED, FINAL
from tune.study.growth import check_growth, continue_survivors
from tune.study.lease import RENEWAL, LeaseError, lease
from tune.study.search_study import SearchStudy, TrialRequest
from tune.study.stored_study import StoredStudy

if TYPE_CHECKING:
    from storm.world import World

URL = "sqlite:////storm/study.db"
SLOWER = 8
"""How much longer an epoch takes than the curves say: a lease is renewed a few times meanwhile."""
RETRIES = 50
FAILING = 4
"""The trial whose loss is not finite in its second epoch."""


class Driver:
    """One launch, from its lease to its end, whatever ends it."""

    storage: Any

    def __init__(self, world: World, process: Process, file: StudyFile) -> None:
        self.world, self.process, self.file = world, process, file
        self.spec = file.search_spec()
        self._open = ExitStack()
        self._study: SearchStudy | None = None
        self._searcher: JobSearcher | None = None
        self._tracking: Tracking | None = None
        self._workers: dict[str, TrialRequest] = {}
        self._handed = 0
        self._at_work = True

    def begin(self) -> None:
        """Take the lease and hand out what there is to do."""
        self._open.enter_context(lease(URL, self.file.name, signs=self.spec.signs))
        self.world.after(RENEWAL, self._beat)
        self._study = study = SearchStudy(self.spec, self.storage)
        check_growth(self.spec, study.launches.all())
        study.bind("objectives", self.file.objectives)
        study.bind("seed", self.file.seed)
        self.process.launched = self.world.machines.now
        study.begin_launch()
        grown = continue_survivors(study)
        self.world.tell(f"launch {study.launches.number}, continuing {grown}")
        self._tracking = Tracking(self.file, study, lambda: self._at_work)
        jobs: Any = SimpleNamespace(trial=self._job)
        self._searcher = JobSearcher(SearchJobs(jobs, study, Reporter()), retries=RETRIES)
        self._source = self._searcher._source
        study.launches.touch()
        self._fill()

    def working(self) -> list[int]:
        """Return the trials that its workers train."""
        return [ask.number for ask in self._workers.values()]

    def lose_worker(self) -> None:
        """SIGKILL to a worker at a random moment of its epoch."""
        if self._workers:
            trial = self.world.chance.choice(sorted(self._workers))
            self.world.kills[self._workers[trial].number] += 1
            self._died(trial)

    def leave(self, error: BaseException) -> None:
        """End as a launch does that something has stopped."""
        self._at_work = False
        self.world.kills.update(self.working())
        with suppress(KilledError, LeaseError, StorageInternalError, KeyboardInterrupt):
            try:
                if self._study is not None:
                    self._study.launches.touch()
                if self._tracking is not None:
                    self._tracking.send(closing=True)
            finally:
                self._open.__exit__(type(error), error, error.__traceback__)

    def bury(self) -> None:
        """Let what Python still runs of a killed process come to nothing."""
        with suppress(KilledError, LeaseError):
            self._open.__exit__(KilledError, KilledError(), None)

    def sync(self) -> None:
        """Send what the server lacks, as `refkd sync` does."""
        with lease(URL, self.file.name, signs=self.spec.signs):
            tracking = Tracking(self.file, StoredStudy(self.spec, self.storage), lambda: False)
            tracking.send(closing=True)
            assert tracking.delivery._problem is None

    def stop_sending(self) -> None:
        """Let the thread of the record end with its process."""
        if self._tracking is not None:
            self._tracking.stop()

    # Hand out, report, end ----------------------------------------------------------------------

    def _job(self, ask: TrialRequest) -> Any:
        folder = self.world.folder / "nowhere"  # nothing is trained
        return SimpleNamespace(key=str(ask.number), ask=ask, folder=folder, networks=[None])

    def _fill(self) -> None:
        """Do as Ray Tune does while workers are idle, then send; end where nothing can follow."""
        assert self._searcher is not None
        assert self._study is not None
        assert self._tracking is not None
        given: Any = {}
        while len(self._workers) < self.file.workers:
            trial = f"{self.process.number}-{self._handed}"
            given = self._searcher.suggest(trial)
            if not isinstance(given, dict):
                break
            self._handed += 1
            ask = self._workers[trial] = given["job"].ask
            disk = self.world.disk
            parent = 0 if ask.continues is None else disk.get(ask.continues, 0)
            disk[ask.number] = max(disk.get(ask.number, 0), parent)
            self.world.tell(f"trial {ask.number}, attempt {ask.attempt}")
            self._train(trial, ask.inherited + 1)
        if self._workers or isinstance(given, dict):
            if self.world.chance.random() < 0.3:
                self._tracking.send()
            return
        self._end()

    def _end(self) -> None:
        assert self._study is not None
        assert self._tracking is not None
        assert isinstance(self._source, SearchJobs)
        self._source.close_paused()
        self._study.launches.touch()
        self._at_work = False
        left = self._study.left()
        self._tracking.send(closing=True)
        self._open.close()
        self.world.ended(self, left)

    def _train(self, trial: str, epoch: int) -> None:
        """Let a worker train an epoch, or report one that its checkpoint holds already."""
        ask = self._workers[trial]
        seconds = 0.0
        if epoch > self.world.disk[ask.number]:
            seconds = SLOWER * TABLE.nearest(ask.values).seconds(epoch)
            self.world.begun[ask.number] += 1
        done = lambda: self.world.step(self, lambda: self._trained(trial, epoch))  # noqa: E731
        self.world.after(seconds, done)

    def _trained(self, trial: str, epoch: int) -> None:
        ask = self._workers.get(trial)
        if ask is None:  # its worker was killed meanwhile
            return
        chance, crash = self.world.chance, self.world.schedule.crash
        if epoch > self.world.disk[ask.number]:
            if chance.random() < crash:
                self.world.kills[ask.number] += 1
                self._died(trial)
                return
            self.world.disk[ask.number] = epoch
        if chance.random() < crash:
            self._died(trial)
            return
        self._report(trial, ask, epoch)

    def _report(self, trial: str, ask: TrialRequest, epoch: int) -> None:
        assert self._searcher is not None
        metrics = TABLE.nearest(ask.values).at(epoch)
        twice = self.world.chance.random() < self.world.schedule.repeat
        if ask.number == FAILING and epoch == 2:
            self._searcher.report(trial, {FAILED: "the loss is not finite"})
            self._completed(trial, twice)
            return
        goes_on = self._searcher.report(trial, {"epoch": epoch, **metrics})
        if twice:
            again = self._searcher.report(trial, {"epoch": epoch, **metrics})
            assert again == goes_on, "a repeated report is answered otherwise"
        self.world.tell(f"trial {ask.number}, epoch {epoch}: {'go' if goes_on else 'stop'}")
        if goes_on and epoch < self.file.training.epochs:
            self._train(trial, epoch + 1)
            return
        if goes_on:
            self._searcher.report(trial, {FINAL + k: v for k, v in metrics.items()})
        self._completed(trial, twice)

    def _completed(self, trial: str, twice: bool) -> None:
        assert self._searcher is not None
        self._workers.pop(trial)
        for _ in range(1 + twice):
            self._searcher.on_trial_complete(trial)
        self._fill()

    def _died(self, trial: str) -> None:
        """Lose a worker: Ray reports an error."""
        assert self._searcher is not None
        self.world.tell(f"the worker of trial {self._workers.pop(trial).number} died")
        self._searcher.on_trial_complete(trial, error=True)
        self._fill()

    def _beat(self) -> None:
        """Run the thread that renews the lease until it would wait again."""
        if not self.process.dead:
            self.world.step(self, self._renew)
            self.world.after(RENEWAL, self._beat)

    def _renew(self) -> None:
        ended = threading.Event()
        waits = iter([False, True])
        ended.wait = lambda _: next(waits)  # type: ignore[method-assign, misc, assignment]
        held, self.process.held._ended = self.process.held._ended, ended
        self.process.held._keep()
        self.process.held._ended = held
        if self.process.interrupted:
            raise KeyboardInterrupt
