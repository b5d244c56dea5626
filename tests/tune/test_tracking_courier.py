"""The courier: in order, at least once, and no event may hold up the others for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tune.tracking import courier
from tune.tracking.courier import LATE, PATIENCE, Courier, Delivery, parcels
from tune.tracking.sender import Sender
from tune.tracking.spool import Event, Kind, RefusedError, Spool

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
)


class Receiver:
    """Takes events as told: `fails` says what to raise at an event's nth try."""

    is_new = False

    def __init__(
        self, fails: Callable[[int, int], Exception | None], *, alive: bool = True
    ) -> None:
        self._fails = fails
        self._alive = alive
        self.tries: dict[int, int] = {}
        self.taken: list[int] = []

    def send(self, *events: Event) -> None:
        steps = [event.body["step"] for event in events]
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
    monkeypatch.setattr(courier, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(courier, "LONGEST_WAIT", 0.01)


def carry(spool: Spool, receiver: Receiver, steps: range, *, seconds: float = 30) -> Delivery:
    worker = Courier(spool, "there", lambda: cast(Sender, receiver))
    for step in steps:
        spool.append(Event(kind="epoch", run="a", time=0, body={"step": step, "metrics": {}}))
        worker.wake()
    return worker.close(seconds)


def test_an_outage_delays_and_keeps_the_order(tmp_path: Path) -> None:
    # Down for three tries at every third event: no longer than a server's patience.
    receiver = Receiver(lambda step, n: ConnectionError() if step % 3 == 0 and n < 4 else None)
    assert carry(Spool(tmp_path), receiver, range(9)) == Delivery()
    assert receiver.taken == list(range(9))


@pytest.mark.parametrize(
    ("error", "tries"), [(RefusedError("bad name"), 1), (RuntimeError("500"), PATIENCE)]
)
def test_a_poisoned_event_is_put_aside(tmp_path: Path, error: Exception, tries: int) -> None:
    receiver = Receiver(lambda step, n: error if step == 1 else None)
    assert carry(Spool(tmp_path), receiver, range(4)) == Delivery(rejected=1)
    assert receiver.taken == [0, 2, 3]
    assert receiver.tries[1] in (tries, 2 * tries), "alone, or together with others before"
    (line,) = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["event"]["body"]["step"] == 1
    assert str(error) in json.loads(line)["reason"]


def test_a_server_that_is_down_rejects_nothing(tmp_path: Path) -> None:
    receiver = Receiver(lambda step, n: ConnectionError("down"), alive=False)
    spool = Spool(tmp_path)
    assert carry(spool, receiver, range(4)) == Delivery(left=4, problem="down")
    assert not spool.rejected.exists()
    # The next launch, with the server up again:
    well = Receiver(lambda step, n: None)
    assert carry(Spool(tmp_path), well, range(6)) == Delivery()
    assert well.taken == list(range(6))


def test_what_is_sent_is_not_sent_again(tmp_path: Path) -> None:
    carry(Spool(tmp_path), Receiver(lambda step, n: None), range(3))
    second = Receiver(lambda step, n: None)
    carry(Spool(tmp_path), second, range(5))
    assert second.taken == [3, 4]


def test_a_receiver_that_is_new_gets_everything(tmp_path: Path) -> None:
    carry(Spool(tmp_path), Receiver(lambda step, n: None), range(3))
    second = Receiver(lambda step, n: None)
    second.is_new = True
    carry(Spool(tmp_path), second, range(5))
    assert second.taken == [0, 1, 2, 3, 4]


def test_nothing_to_send_makes_no_receiver(tmp_path: Path) -> None:
    def connect() -> Sender:
        pytest.fail("MLflow was imported for nothing")

    assert Courier(Spool(tmp_path), "there", connect).close(30) == Delivery()


def test_an_event_told_while_the_courier_looks_is_not_missed_at_closing(tmp_path: Path) -> None:
    class Racing(Spool):
        """Grows just after it was found empty, and is closed in the same moment."""

        def read(self, offset: int, *, size: int = 1 << 18) -> list[tuple[int, Event | str]]:
            found = super().read(offset, size=size)
            if not found and worker and not worker[0]._closing.is_set():
                self.append(Event(kind="epoch", run="a", time=0, body={"step": 7, "metrics": {}}))
                worker[0]._closing.set()
                worker[0].wake()
            return found

    worker: list[Courier] = []
    receiver = Receiver(lambda step, n: None)
    worker.append(Courier(Racing(tmp_path), "there", lambda: cast(Sender, receiver)))
    worker[0].wake()
    worker[0]._thread.join(30)
    assert worker[0].close(30) == Delivery()
    assert receiver.taken == [7]


def test_a_slow_server_holds_up_nobody(tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(Receiver):
        def send(self, *events: Event) -> None:
            release.wait()
            super().send(*events)

    receiver = Slow(lambda step, n: None)
    try:
        delivery = carry(Spool(tmp_path), receiver, range(3), seconds=0.05)
        assert delivery == Delivery(left=3, problem="the server does not answer in time")
    finally:
        release.set()


def test_a_line_that_is_no_event_is_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "events.jsonl").write_text("\x00\x00\x00\n")
    receiver = Receiver(lambda step, n: None)
    assert carry(spool, receiver, range(2)) == Delivery(rejected=1)
    assert receiver.taken == [0, 1]


def test_epochs_go_together_with_the_end_of_their_run_and_never_past_what_else_it_tells() -> None:
    kinds = [
        "run a",
        "epoch a",
        "epoch b",
        "epoch a",
        "no event",
        "end a",
        "run a",
        "epoch a",
        "epoch b",
        "epoch a",
    ]
    batch: list[tuple[int, Event | str]] = []
    for place, told in enumerate(kinds, 1):
        kind, run = told.split()
        event = Event(kind=cast(Kind, kind), run=run, time=0, body={"step": place, "path": ""})
        batch.append((10 * place, told if kind == "no" else event))
    sent, done = list[int](), list[int]()
    for events, offset in parcels(batch):
        places = [1 + [event for _, event in batch].index(event) for event in events]
        sent += places
        done.append(offset)
        unsent = set(range(1, len(batch) + 1)) - set(sent)
        assert offset == 10 * (min(unsent, default=len(batch) + 1) - 1), "all before it is sent"
    assert sent == [1, 2, 4, 6, 3, 9, 5, 7, 8, 10]
    assert done[-1] == 10 * len(batch)


@pytest.mark.parametrize("trouble", ["slow", "down"])
def test_a_server_that_struggles_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Without the bound of `struggling` the test would never end."""
    monkeypatch.setattr(courier, "SLOW", 0.0 if trouble == "slow" else 60.0)
    again = threading.Event()

    def fails(step: int, tries: int) -> Exception | None:
        if step < LATE:
            return None
        if trouble == "slow":
            again.wait()
        return ConnectionError("down")

    receiver, spool = Receiver(fails, alive=False), Spool(tmp_path)
    monkeypatch.setattr(courier, "PATIENCE", 10**9)
    worker = Courier(spool, "there", lambda: cast(Sender, receiver))
    try:
        for step in range(LATE + 1):
            body = {"step": step, "metrics": {}}
            spool.append(Event(kind="epoch", run=f"run {step}", time=0, body=body))
        worker.wake()
        delivery = worker.close(threading.TIMEOUT_MAX, struggling=0.2)
    finally:
        again.set()
    assert (delivery.left, delivery.rejected) == (1, 0)
    assert receiver.taken == list(range(LATE))
