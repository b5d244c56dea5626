"""SIGKILL at random moments to drivers, workers, and all at once, on every kind of storage.

The moments are other ones each night; `make test-nightly SEED=...` repeats them as far as the
machine's own timing allows. Each place where a kill could do harm is tried in `test_chaos_points`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.chaos import Workspace, assert_sound, copy_made, kill_all, outcome, session, wait_for
from support.chaos_hooks import Epochs

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
KILLS = {"driver": 1, "everything": 1, "worker": 8}
"""How often each is killed on each storage."""
WORKERS = {"sqlite": 1, "journal": 2, "postgresql": 1}
TRIALS = {1: 12, 2: 18}
"""Trials by workers: enough to be at work until the last kill."""
SEED = int(os.environ.get("REFKD_TEST_SEED", "0"))
EPOCH_SECONDS = 0.4
"""How much longer an epoch is than it needs, so that the kills find trials at work."""


@dataclass(frozen=True)
class Begun:
    """An epoch that began: of which trial, and in which process."""

    trial: int
    epoch: int
    process: int


class Storm:
    """A search that is killed again and again, and each time begun again."""

    def __init__(self, workspace: Workspace, *, seed: int) -> None:
        self.workspace = workspace
        self._log = workspace.folder / "epochs"
        self._random = random.Random(seed)
        self._driver: subprocess.Popen[bytes] | None = None
        self.launches = 0
        self.running: Counter[int] = Counter()
        """How often each trial ran when something was killed."""
        workspace.hooks.append(Epochs(path=str(self._log), seconds=EPOCH_SECONDS))

    def run(self) -> None:
        """Kill as often as planned, then let the search end."""
        plan = [what for what, times in KILLS.items() for _ in range(times)]
        self._random.shuffle(plan)
        try:
            for what in plan:
                self._kill(what)
            assert self._alive().wait() == 0, self.workspace.said()
        finally:
            if self._driver is not None:
                kill_all(self._driver)

    def begun(self) -> list[Begun]:
        """Return every epoch that any process began."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="ascii").splitlines()
        return [Begun(*map(int, line.split()[:3])) for line in lines]

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._driver is None:
            self._driver = self.workspace.start()
            self.launches += 1
        return self._driver

    def _kill(self, what: str) -> None:
        driver, before = self._alive(), self._reached()
        wait_for(lambda: self._reached() > before, driver)
        time.sleep(self._random.uniform(0, 2 * EPOCH_SECONDS))
        wait_for(lambda: self._at_work(driver), driver)
        at_work = self._at_work(driver)
        if what == "worker":
            process = self._random.choice(sorted(at_work))
            self.running[at_work[process]] += 1
            os.kill(process, signal.SIGKILL)
            return
        self.running.update(at_work.values())
        if what == "driver":
            driver.kill()
            driver.wait()
        else:
            kill_all(driver)
        self._driver = None

    def _reached(self) -> int:
        """Return how many epochs were begun, each counted once.

        Nothing is killed before this has grown: whoever is killed in every epoch comes nowhere,
        and a trial that is taken up ten times in vain fails, as it should.
        """
        return len({(b.trial, b.epoch) for b in self.begun()})

    def _at_work(self, driver: subprocess.Popen[bytes]) -> dict[int, int]:
        """Return the trial that each worker alive began an epoch of last."""
        alive = set(session(driver.pid))
        return {b.process: b.trial for b in self.begun() if b.process in alive}


def assert_little_lost(storm: Storm, workspace: Workspace) -> int:
    """Return the epochs begun in vain; a trial may lose one for each kill it ran through."""
    begun = Counter(b.trial for b in storm.begun())
    lost = {v.number: begun[v.number] - v.epoch for v in workspace.views()}
    for number, epochs in lost.items():
        assert 0 <= epochs <= storm.running[number], (number, lost, storm.running)
    return sum(lost.values())


def storms(calm: Workspace, folder: Path, store: Path, storages: dict[str, str]) -> list[Storm]:
    """Search on all storages at the same time, under fire."""
    made = []
    for kind, storage in storages.items():
        workspace = copy_made(calm, folder / kind, store)
        workers = WORKERS[kind]
        workspace.write(
            storage=storage,
            workers=workers,
            budget={"trials": TRIALS[workers]},
            retries=KILLS["worker"],
        )
        made.append(Storm(workspace, seed=SEED + len(made)))
    with ThreadPoolExecutor(len(made)) as threads:
        for running in [threads.submit(storm.run) for storm in made]:
            running.result()
    return made


def test_kills_at_random_moments_change_nothing(
    calm: Workspace,
    tmp_path: Path,
    empty_store: Path,
    postgres_database: str,
    record_property: Callable[[str, object], None],
) -> None:
    storages = {
        "sqlite": f"sqlite:///{tmp_path / 'study.db'}",
        "journal": f"journal:{tmp_path / 'study.journal'}",
        "postgresql": postgres_database,
    }
    start = time.monotonic()
    made = storms(calm, tmp_path, empty_store, storages)
    seconds = time.monotonic() - start
    for (kind, workers), storm in zip(WORKERS.items(), made, strict=True):
        workspace = storm.workspace
        assert_sound(workspace, trials=TRIALS[workers])
        lost = assert_little_lost(storm, workspace)
        if workers == 1:
            assert outcome(workspace.views()) == outcome(calm.views())
            assert workspace.champions() == calm.champions()
        summary = (
            f"{kind}, {workers} workers: {KILLS} killed, {storm.launches} launches, {lost} of "
            f"{len(storm.begun())} epochs lost, {seconds:.0f} s for all storages"
        )
        record_property(kind, summary)
        print(f"\n{summary}")
