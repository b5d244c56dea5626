"""The delivery: in order, at least once, and no operation may hold up the others for ever."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import cast

import pytest

from refkd.urls import Url
from tune import compat
from tune.tracking import delivery
from tune.tracking.cursor import Cursor
from tune.tracking.delivery import LATE, PATIENCE, Delivered, Delivery, Source, parcels
from tune.tracking.operations import (
    BeginRun,
    EndRun,
    KeepFile,
    LogEpoch,
    Operation,
    RefusedError,
)
from tune.tracking.target import REFUSED, Target
from tune.tracking.writer import Writer

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
)


def epoch(number: int, run: str = "a") -> LogEpoch:
    return LogEpoch(run=run, time=0, epoch=number, metrics={})


class Epochs:
    """A source of epochs that has more at each call."""

    def __init__(self, epochs: Sequence[LogEpoch] = ()) -> None:
        self.known = list(epochs)

    def news(self) -> list[LogEpoch]:
        return self.known.copy()


class Receiver:
    """Takes epochs as told: `fails` says what to raise at an epoch's nth try."""

    experiment = "1"

    def __init__(
        self, fails: Callable[[int, int], Exception | None], *, alive: bool = True
    ) -> None:
        self._fails = fails
        self._alive = alive
        self.tries: dict[int, int] = {}
        self.taken: list[int] = []

    def send(self, *operations: Operation) -> None:
        steps = [one.epoch for one in operations if isinstance(one, LogEpoch)]
        for step in steps:
            self.tries[step] = self.tries.get(step, 0) + 1
            if error := self._fails(step, self.tries[step]):
                raise error
        self.taken += steps

    def answers(self) -> bool:
        if not self._alive:
            raise ConnectionError("down")
        return True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(delivery, "LONGEST_WAIT", 0.01)


@dataclass(frozen=True, kw_only=True)
class Receiving(Target):
    """A target whose writer is a receiver; None where nothing may ask for one."""

    receiver: Receiver | None

    def writer(self) -> Writer:
        assert self.receiver is not None, "MLflow was imported for nothing"
        return cast(Writer, self.receiver)


def target(folder: Path, receiver: Receiver | None) -> Target:
    names = {"uri": Url("there"), "experiment": "experiment", "study": "study", "identity": "one"}
    return Receiving(**names, workspace=folder, folder=folder, receiver=receiver)


def begin(folder: Path, source: Source, receiver: Receiver) -> Delivery:
    return Delivery(target(folder, receiver), lambda: source)


def carry(folder: Path, receiver: Receiver, steps: range, *, seconds: float = 30) -> Delivered:
    source = Epochs()
    worker = begin(folder, source.news, receiver)
    for step in steps:
        source.known.append(epoch(step))
        worker.wake()
    return worker.close(seconds)


def test_an_outage_delays_and_keeps_the_order(tmp_path: Path) -> None:
    # Down for three tries at every third event: no longer than a server's patience.
    receiver = Receiver(lambda step, n: ConnectionError() if step % 3 == 0 and n < 4 else None)
    assert carry(tmp_path, receiver, range(1, 10)) == Delivered()
    assert receiver.taken == list(range(1, 10))


def test_a_poisoned_event_is_put_aside(tmp_path: Path) -> None:
    error = RefusedError("bad name")
    receiver = Receiver(lambda step, n: error if step == 2 else None)
    assert carry(tmp_path, receiver, range(1, 5)) == Delivered(refused=1)
    assert receiver.taken == [1, 3, 4]
    assert receiver.tries[2] in (1, 2), "alone, or together with others before"
    (line,) = (tmp_path / REFUSED).read_text().splitlines()
    assert json.loads(line)["operation"]["epoch"] == 2
    assert str(error) in json.loads(line)["reason"]


@pytest.mark.parametrize(
    ("code", "said", "final"),
    [
        ("INVALID_PARAMETER_VALUE", "Invalid metric name 'connection=1'", True),
        ("RESOURCE_DOES_NOT_EXIST", "Run 'a' not found", True),
        ("INVALID_STATE", "The run is deleted", True),
        ("BAD_REQUEST", "(sqlite3.IntegrityError) UNIQUE constraint failed", True),
        ("BAD_REQUEST", "(psycopg.errors.NotNullViolation) null value in column", True),
        ("BAD_REQUEST", "(psycopg.errors.ReadOnlySqlTransaction) cannot execute INSERT", False),
        ("BAD_REQUEST", "(psycopg.errors.InsufficientPrivilege) permission denied", False),
        ("BAD_REQUEST", "(sqlite3.DatabaseError) database disk image is malformed", False),
        ("INVALID_STATE", "[Errno 28] No space left on device", False),
        ("INTERNAL_ERROR", "(sqlite3.OperationalError) database or disk is full", False),
        ("TEMPORARILY_UNAVAILABLE", "(sqlite3.OperationalError) database is locked", False),
        ("REQUEST_LIMIT_EXCEEDED", "429", False),
        ("RESOURCE_EXHAUSTED", "slow down", False),
        ("DEADLINE_EXCEEDED", "504", False),
        ("PERMISSION_DENIED", "no", False),
        ("UNAUTHENTICATED", "who?", False),
    ],
)
def test_what_a_server_will_never_take_is_told_from_what_may_pass(
    code: str, said: str, final: bool
) -> None:
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.protos.databricks_pb2 import ErrorCode

    from tune.tracking.writer import is_final

    assert is_final(RestException({"error_code": code, "message": said})) is final
    assert is_final(MlflowException(said, error_code=ErrorCode.Value(code))) is final


def of_runs(receiver: Receiver, folder: Path) -> Delivered:
    """Send two epochs of each of three runs: of the second run, 3 and 4."""
    epochs = [epoch(2 * place + n, run) for place, run in enumerate("abc") for n in (1, 2)]
    return Delivery(target(folder, receiver), lambda: lambda: epochs).close(30)


def test_what_fails_on_a_server_that_answers_is_sent_later_and_holds_up_nobody(
    tmp_path: Path,
) -> None:
    receiver = Receiver(
        lambda step, n: OSError("No space left\non the disk") if step == 3 else None
    )
    assert of_runs(receiver, tmp_path) == Delivered(left=2, problem="No space left")
    assert receiver.taken == [1, 2, 5, 6], "a run's order counts"
    assert not (tmp_path / REFUSED).exists()
    well = Receiver(lambda step, n: None)
    assert of_runs(well, tmp_path) == Delivered()
    assert well.taken == [3, 4]


def test_a_server_that_takes_nothing_refuses_nothing_and_is_left_soon(tmp_path: Path) -> None:
    receiver = Receiver(lambda step, n: OSError("database or disk is full"))
    assert of_runs(receiver, tmp_path) == Delivered(left=6, problem="database or disk is full")
    assert not (tmp_path / REFUSED).exists()
    assert sum(receiver.tries.values()) <= 8 * PATIENCE


def test_many_that_fail_hold_up_nobody_behind_them(tmp_path: Path) -> None:
    receiver = Receiver(lambda step, n: OSError("full") if step < 5 else None)
    assert of_runs(receiver, tmp_path) == Delivered(left=4, problem="full")
    assert receiver.taken == [5, 6]


def test_what_was_postponed_is_sent_by_the_same_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY", 0.0)
    receiver = Receiver(lambda step, n: OSError("full") if step == 1 and n <= PATIENCE else None)
    source = Epochs([epoch(1, "a"), epoch(2, "b")])
    worker = begin(tmp_path, source.news, receiver)
    while receiver.taken != [2, 1]:
        worker.wake()
    assert worker.close(30) == Delivered()


def test_a_server_that_is_down_rejects_nothing(tmp_path: Path) -> None:
    receiver = Receiver(lambda step, n: ConnectionError("down"), alive=False)
    assert carry(tmp_path, receiver, range(1, 5)) == Delivered(left=4, problem="down")
    assert not (tmp_path / REFUSED).exists()
    # The next launch, with the server up again:
    well = Receiver(lambda step, n: None)
    assert carry(tmp_path, well, range(1, 7)) == Delivered()
    assert well.taken == list(range(1, 7))


def test_what_is_sent_is_not_sent_again(tmp_path: Path) -> None:
    carry(tmp_path, Receiver(lambda step, n: None), range(1, 4))
    second = Receiver(lambda step, n: None)
    carry(tmp_path, second, range(1, 6))
    assert second.taken == [4, 5]


def test_a_receiver_that_is_new_gets_everything(tmp_path: Path) -> None:
    carry(tmp_path, Receiver(lambda step, n: None), range(1, 4))
    second = Receiver(lambda step, n: None)
    second.experiment = "2"
    carry(tmp_path, second, range(1, 6))
    assert second.taken == [1, 2, 3, 4, 5]


def test_nothing_to_send_makes_no_writer(tmp_path: Path) -> None:
    done = Delivery(target(tmp_path, None), lambda: Epochs().news).close(30)
    assert done == Delivered()


def test_what_happens_while_the_thread_looks_is_not_missed_at_closing(tmp_path: Path) -> None:
    class Racing(Epochs):
        """Grows just after it was found empty, and is closed in the same moment."""

        def news(self) -> list[LogEpoch]:
            found = super().news()
            if not found and worker and not worker[0]._closing.is_set():
                self.known.append(epoch(7))
                worker[0]._closing.set()
                worker[0].wake()
            return found

    worker: list[Delivery] = []
    receiver = Receiver(lambda step, n: None)
    worker.append(begin(tmp_path, Racing().news, receiver))
    worker[0].wake()
    worker[0]._thread.join(30)
    assert worker[0].close(30) == Delivered()
    assert receiver.taken == [7]


def test_a_storage_that_fails_for_a_while_is_read_again(tmp_path: Path) -> None:
    class Failing(Epochs):
        tries = 0

        def news(self) -> list[LogEpoch]:
            self.tries += 1
            if self.tries < 4:
                raise ConnectionError("the database is away")
            return super().news()

    receiver = Receiver(lambda step, n: None)
    assert begin(tmp_path, Failing([epoch(1)]).news, receiver).close(30) == Delivered()
    assert receiver.taken == [1]


def test_a_thread_that_dies_of_a_mistake_says_so_and_what_is_left(tmp_path: Path) -> None:
    class Broken(Cursor):
        calls = 0

        def pending(self, operations: Iterable[Operation]) -> list[Operation]:
            self.calls += 1
            if self.calls == 1:
                raise KeyError("a mistake")
            return super().pending(operations)

    cursor = Broken(tmp_path, "there", "experiment")
    receiver = Receiver(lambda *_: None)
    source = Epochs([epoch(1), epoch(2)])
    done = Delivery(target(tmp_path, receiver), lambda: source.news, cursor).close(30)
    assert (done.left, done.problem) == (2, "'a mistake'")


def test_a_slow_server_holds_up_nobody_and_prints_nothing_later(tmp_path: Path) -> None:
    """MLflow logs the traceback of what a store answers, be it after the delivery was closed."""
    release = threading.Event()
    levels: Queue[int] = Queue()

    class Slow(Receiver):
        def send(self, *operations: Operation) -> None:
            release.wait()
            levels.put(logging.getLogger(compat.STORE_LOGGER).level)
            super().send(*operations)

    receiver = Slow(lambda step, n: None)
    try:
        delivered = carry(tmp_path, receiver, range(1, 4), seconds=0.05)
        assert delivered == Delivered(left=3, problem="the server does not answer in time")
    finally:
        release.set()
    assert levels.get(timeout=60) == logging.CRITICAL


def test_epochs_go_together_with_the_end_of_their_run_and_never_past_what_else_it_says() -> None:
    kinds = [
        "begin a",
        "epoch a",
        "epoch b",
        "epoch a",
        "file c",
        "end a",
        "begin a",
        "epoch a",
        "epoch b",
        "epoch a",
    ]
    queue: list[Operation] = []
    for place, (kind, run) in enumerate(map(str.split, kinds), 1):
        if kind == "begin":
            queue.append(BeginRun(run=run, time=place, name=run, params={}, tags={}))
        elif kind == "epoch":
            queue.append(LogEpoch(run=run, time=place, epoch=place, metrics={}))
        elif kind == "file":
            queue.append(KeepFile(run=run, time=place, path="p", folder=None, sha256="s"))
        else:
            queue.append(EndRun(run=run, time=place, status="FINISHED", tags={}, metrics={}))
    sent = [[one.time for one in parcel] for parcel in parcels(queue)]
    assert sent == [[1], [2, 4, 6], [3, 9], [5], [7], [8, 10]]


@pytest.mark.parametrize("trouble", ["slow", "down"])
def test_a_server_that_struggles_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Without the bound of `struggling` the test would never end."""
    monkeypatch.setattr(delivery, "SLOW", 0.0 if trouble == "slow" else 60.0)
    again = threading.Event()

    def fails(step: int, tries: int) -> Exception | None:
        if len(receiver.taken) < LATE:
            return None
        if trouble == "slow":
            again.wait()
        return ConnectionError("down")

    receiver = Receiver(fails, alive=False)
    monkeypatch.setattr(delivery, "PATIENCE", 10**9)
    epochs = [epoch(1, run=f"run {step}") for step in range(LATE + 1)]
    worker = begin(tmp_path, lambda: epochs, receiver)
    try:
        delivered = worker.close(threading.TIMEOUT_MAX, struggling=0.2)
    finally:
        again.set()
    assert (delivered.left, delivered.refused) == (1, 0)
    assert receiver.taken == [1] * LATE
