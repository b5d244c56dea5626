"""Whose fault an error is, and that a fault of a machine becomes no result of a search."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from optuna.storages import InMemoryStorage
from ray.tune.search import Searcher
from safetensors import SafetensorError
from sqlalchemy.exc import OperationalError
from support.recorded_curves import TABLE, study_file

from refkd.errors import CheckpointError, DataError, RefKDError
from tune.audit.replay import replay
from tune.ending.exits import ExitCode, UnfinishedError
from tune.execution.machine import Fault, fault_in, fault_of, outside
from tune.execution.progress import Reporter
from tune.execution.searcher import JobSearcher
from tune.execution.study_jobs import SearchJobs
from tune.execution.worker import FAULT, FINAL
from tune.study.search_study import MAX_STARTS, SearchStudy


def number(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/mnt/work/trials/0003")


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


OF_MACHINE = [
    *map(number, (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)),
    *map(number, (errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM)),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/mnt/work"),
    OSError("Can't read data (file read failed: errno = 5, error message = 'Input/output error')"),
    ModuleNotFoundError("No module named 'tune'"),
    ImportError("libcudart.so.12: cannot open shared object file"),
    SafetensorError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left" }'),
    RuntimeError("No space left on device (os error 28)"),
    caused(DataError("features.h5: cannot be read"), number(errno.EIO)),
]
"""What is never the fault of a point."""
UNCLEAR = [
    MemoryError(),
    number(errno.ENOMEM),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    CheckpointError("teacher.json: the id teacher is not trained yet"),
    DataError("/data: the dataset changed while the search ran"),
    ValueError("nobody thought of this"),
]
"""What is the point's fault where others go on, and else the machine's."""
OF_RAY = {
    "Traceback (most recent call last):\nModuleNotFoundError: No module named 'tune'": True,
    "The actor died because its node has died. Node Id: 4f": True,
    "ray.exceptions.LocalRayletDiedError: The task's local raylet died.": True,
    "ray.exceptions.RuntimeEnvSetupError: Failed to set up runtime environment.": True,
    "ray.exceptions.RaySystemError: System error: Broken pipe": True,
    "ray.exceptions.OutOfDiskError: Local disk is full": True,
    "OSError: [Errno 28] No space left on device": True,
    "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low": False,
    "Worker unexpectedly exits with a connection error code 2. End of file.": False,
    "the worker process died": False,
}
"""Whether it cannot be the point's, by what Ray writes down."""


@pytest.mark.parametrize("error", OF_MACHINE, ids=str)
def test_what_no_point_can_do_is_the_machines(error: Exception) -> None:
    fault = fault_of(error)
    assert fault.machine
    assert fault.cause == str(error)


@pytest.mark.parametrize("error", UNCLEAR, ids=repr)
def test_what_a_point_may_do_is_unclear(error: Exception) -> None:
    assert not fault_of(error).machine
    assert fault_of(error).cause


@pytest.mark.parametrize("text", OF_RAY)
def test_what_ray_has_written_down_is_told_apart(text: str) -> None:
    assert fault_in(text) == Fault(
        cause=text.splitlines()[-1], machine=OF_RAY[text], remedy=fault_in(text).remedy
    )


@pytest.mark.parametrize(
    "error",
    [
        number(errno.ENOSPC),
        number(errno.EROFS),
        MemoryError(),
        caused(RuntimeError("Tune failed"), number(errno.EDQUOT)),
        caused(
            RuntimeError("the commit failed"),
            OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full")),
        ),
    ],
    ids=repr,
)
def test_a_commands_own_end_for_want_of_a_machine_is_one_line(error: Exception) -> None:
    told = outside(error)
    assert told is not None
    assert told.code == ExitCode.LEFT
    assert "\n" not in str(told)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("answer", "remedy"),
    {
        "database or disk is full": "free some space",
        "database is locked": "wait for the process that holds it",
        "attempt to write a readonly database": (
            "it is read-only: make file and folder writable, or ask what only looks"
        ),
        "server closed the connection unexpectedly": "see that the server is well",
    }.items(),
)
def test_what_a_database_answers_is_told_in_one_line(
    answer: str, remedy: str, wrapped: bool
) -> None:
    """Ray hands on some errors as the text of their traceback."""
    error: Exception = OperationalError("INSERT INTO x", {}, sqlite3.OperationalError(answer))
    if wrapped:
        error = RuntimeError(
            f"Traceback (most recent call last):\n  {error}\nStorageInternalError"
        )
    told = outside(caused(RuntimeError("the run failed"), error))
    assert told is not None
    assert str(told) == (
        f"the database of the study or of its record: {answer}; {remedy}, then run the same "
        "command again to continue"
    )


def met_while(error: Exception, unwinding: Exception) -> Exception:
    error.__context__ = unwinding
    return error


def test_what_stopped_a_command_is_told_and_not_what_its_end_met() -> None:
    stopped = UnfinishedError("3 faults in a row")
    answer = met_while(sqlite3.OperationalError("database or disk is full"), stopped)
    for error in (met_while(number(errno.ENOSPC), stopped), met_while(number(5), answer)):
        assert outside(error) is stopped


@pytest.mark.parametrize(
    "error",
    [
        ValueError("?"),
        OSError(errno.EINVAL, "?"),
        met_while(KeyError("?"), number(errno.ENOENT)),
        met_while(KeyError("?"), UnfinishedError("?")),
    ],
    ids=repr,
)
def test_a_fault_of_the_program_stays_one(error: Exception) -> None:
    assert outside(error) is None


def job(ask: Any) -> Any:
    key = str(ask.number)
    return SimpleNamespace(key=key, ask=ask, folder=Path("trials", key), networks=[None])


class Search:
    """Launches of one search, whose workers meet what `meets` says of a trial and a start."""

    def __init__(
        self, meets: Callable[[int, int], Exception | None], *, before: int = 0, **changes: Any
    ) -> None:
        """A worker reports so many epochs, from its checkpoints, `before` it meets anything."""
        self.meets, self.before = meets, before
        self.file = study_file(**{"budget": {"trials": 6}, "pruning": {"name": "none"}, **changes})
        self.storage = InMemoryStorage()
        self.starts = Counter[int]()
        self.study = SearchStudy(self.file.search_spec(), self.storage)

    def launch(self) -> UnfinishedError | None:
        """Run until there is no more to hand out, all workers at once; return how it ended."""
        self.study = study = SearchStudy(self.file.search_spec(), self.storage)
        study.begin_launch()
        jobs: Any = SimpleNamespace(trial=job)
        searcher = JobSearcher(SearchJobs(jobs, study, Reporter()), retries=1)
        given: Any = None
        for launched in range(100):
            running: dict[str, Any] = {}
            while len(running) < self.file.workers:
                trial = f"{launched}-{len(running)}"
                given = searcher.suggest(trial)
                if not isinstance(given, dict):
                    break
                running[trial] = given["job"].ask
            for trial, ask in running.items():
                self._end(searcher, trial, ask)
            if given == Searcher.FINISHED:
                break
        else:
            raise AssertionError("it does not end")
        try:
            searcher.check()
        except UnfinishedError as error:
            return error
        return None

    def _end(self, searcher: JobSearcher, trial: str, ask: Any) -> None:
        self.starts[ask.number] += 1
        error = self.meets(ask.number, self.starts[ask.number])
        curve = TABLE.nearest(ask.values)
        epochs = self.before if error is not None else self.file.training.epochs
        for epoch in range(1, epochs + 1):
            searcher.report(trial, {"epoch": epoch, **curve.at(epoch)})
        if error is not None:
            said = asdict(fault_of(error))
            searcher.report(trial, {FAULT + name: value for name, value in said.items()})
        else:
            searcher.report(trial, {FINAL + k: v for k, v in curve.at(epochs).items()})
        searcher.on_trial_complete(trial, error=error is not None)

    def states(self) -> list[str]:
        return [view.state for view in self.study.views()]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("error", [*OF_MACHINE[:1], *UNCLEAR], ids=repr)
def test_where_nobody_can_go_on_nothing_ends_and_the_same_command_goes_on_later(
    error: Exception, workers: int
) -> None:
    broken = True
    search = Search(lambda *_: error if broken else None, workers=workers)
    ended = search.launch()
    assert ended is not None
    assert ended.code == ExitCode.LEFT
    assert fault_of(error).cause in str(ended)
    assert str(ended).endswith("run the same command again to continue")
    assert set(search.states()) == {"RUNNING"}
    broken = False
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6
    assert replay(search.study.optuna).differences == []


def test_a_machine_may_stay_broken_for_as_many_launches_as_it_likes() -> None:
    broken = True
    search = Search(lambda *_: number(errno.ENOSPC) if broken else None)
    for _ in range(2 * MAX_STARTS):
        assert search.launch() is not None
    broken = False
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("error", UNCLEAR, ids=repr)
@pytest.mark.parametrize("bad", [0, 3, 5])
def test_a_point_that_never_goes_on_fails_alone_where_others_do(
    bad: int, error: Exception, workers: int
) -> None:
    search = Search(lambda trial, _: error if trial == bad else None, workers=workers)
    assert search.launch() is None
    assert search.states() == ["FAIL" if n == bad else "COMPLETE" for n in range(6)]
    assert search.starts[bad] == 2, "retries"
    assert search.study.views()[bad].reason == fault_of(error).cause


@pytest.mark.parametrize("bad", [0, 3, 5])
def test_a_machine_that_one_trial_alone_meets_leaves_it_for_later(bad: int) -> None:
    broken = True
    meets = lambda trial, _: number(errno.EROFS) if broken and trial == bad else None  # noqa: E731
    search = Search(meets, workers=2)
    ended = search.launch()
    assert ended is not None
    assert "trials/" + str(bad) in str(ended)
    assert search.states()[bad] == "RUNNING"
    broken = False
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6
    assert replay(search.study.optuna).differences == []


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("error", OF_MACHINE[:1] + UNCLEAR[:1], ids=repr)
def test_what_passes_costs_nothing(error: Exception, workers: int) -> None:
    search = Search(lambda _, start: error if start == 1 else None, workers=workers)
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6


@pytest.mark.parametrize("workers", [1, 3])
def test_epochs_of_a_checkpoint_are_no_sign_that_a_trial_goes_on(workers: int) -> None:
    search = Search(lambda *_: number(errno.ENOSPC), before=3, workers=workers)
    for _ in range(3):
        assert search.launch() is not None
    assert set(search.states()) == {"RUNNING"}


def test_a_trial_that_has_gone_on_since_may_meet_its_machine_again() -> None:
    faults = {1: 0, 2: 0, 3: 4, 4: 4}

    def meets(trial: int, start: int) -> Exception | None:
        search.before = faults.get(start, 0)
        return number(errno.EIO) if start in faults else None

    search = Search(meets, budget={"trials": 1}, workers=1)
    assert search.launch() is None
    assert search.starts == {0: 5}


@pytest.mark.parametrize("before", [0, 3])
def test_whether_the_only_trial_is_to_blame_nothing_tells(before: int) -> None:
    search = Search(lambda *_: MemoryError(), before=before, budget={"trials": 1})
    assert search.launch() is not None
    assert search.states() == ["RUNNING"]


def test_many_workers_that_die_at_once_are_one_fault() -> None:
    search = Search(lambda _, start: number(errno.ESTALE) if start == 1 else None, workers=6)
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6


def test_an_error_of_the_user_is_nothing_of_the_machine() -> None:
    assert isinstance(UnfinishedError("?"), RefKDError)
    assert outside(RefKDError("field: value; remedy")) is None


def test_memory_that_is_lost_after_others_have_ended_fails_nobody() -> None:
    broken = True
    meets = lambda trial, _: MemoryError() if broken and trial >= 3 else None  # noqa: E731
    search = Search(meets, workers=3)
    ended = search.launch()
    assert ended is not None
    assert search.states()[:3] == ["COMPLETE"] * 3
    assert set(search.states()[3:]) == {"RUNNING"}
    broken = False
    assert search.launch() is None
    assert search.states() == ["COMPLETE"] * 6


def test_one_trial_alone_stops_no_others_where_one_worker_takes_them_in_turn() -> None:
    search = Search(lambda trial, _: number(errno.EROFS) if trial == 0 else None, workers=1)
    ended = search.launch()
    assert ended is not None
    assert search.states() == ["RUNNING", *["COMPLETE"] * 5]
