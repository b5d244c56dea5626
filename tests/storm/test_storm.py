"""Two hundred schedules of faults in each run; that the storm sees what breaks a rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from storm.many import run, storm
from storm.schedule import Schedule, draw

from tune.study import lease, search_study
from tune.study.holder import Holder
from tune.study.search_study import SearchStudy
from tune.tracking.writer import Writer

SEED = int(os.environ.get("REFKD_TEST_SEED", "0"))
NIGHTLY = 10_000


def test_schedules_of_faults_break_no_rule() -> None:
    said: list[str] = []
    assert storm(range(200), said.append) == [], said


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_ten_thousand_other_schedules_break_no_rule() -> None:
    said: list[str] = []
    first = NIGHTLY * (SEED % 100_000)
    assert storm(range(first, first + NIGHTLY), said.append) == [], said


def test_a_schedule_repeats_step_by_step() -> None:
    steps: list[list[str]] = []
    for _ in range(2):
        steps.append([])
        run(draw(5), steps[-1].append)
    assert steps[0] == steps[1]
    assert any("kill" in step for step in steps[0])


def check_nothing(*_: Any) -> None:
    return None


def store_again(study: SearchStudy, number: int, epoch: int, metrics: Any) -> None:
    """Store an epoch as another one when it is told again."""
    known = study.facts(study._live[number])
    told = epoch + 1 if f"epoch:{epoch:04d}" in known else epoch
    STORE(study, number, told, metrics)


def lose_every_second(study: SearchStudy, number: int, epoch: int, metrics: Any) -> None:
    if epoch != 2:
        STORE(study, number, epoch, metrics)


def two_more(*told: Any) -> int:
    return UNBEGUN(*told) + 2 * (len(told[1]) < 8)


def send_new(writer: Writer, *operations: Any) -> None:
    """Send without looking for what a killed launch has sent."""
    writer._before = set()
    SEND(writer, *operations)


STORE, SEND, UNBEGUN = SearchStudy.store, Writer.send, search_study.unbegun
FAULTS: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "the lease is not checked": (lease._HeldLease, "_check_predecessor", check_nothing, "process"),
    "an epoch is lost": (SearchStudy, "store", lose_every_second, "holds the epochs"),
    "a repeated report counts": (SearchStudy, "store", store_again, "trial"),
    "the budget is passed over": (search_study, "unbegun", two_more, "the budget has"),
    "runs are made twice": (Writer, "send", send_new, "doctor: duplicate"),
}
RARE = (Holder, "check", check_nothing, "in the lease of")
MOST = 600


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        *FAULTS.items(),
        pytest.param("a driver writes unseen", RARE, marks=pytest.mark.nightly),
    ],
)
def test_a_planted_fault_is_found(
    name: str, planted: tuple[Any, str, Callable[..., Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, attribute, fault, sentence = planted
    monkeypatch.setattr(owner, attribute, fault)
    for seed in range(MOST):
        if any(sentence in broken for broken in attempt(draw(seed))):
            print(f"{name}: found by schedule {seed + 1}")
            return
    pytest.fail(f"{MOST} schedules do not find that {name}")


def attempt(schedule: Schedule) -> list[str]:
    """Return what is broken; also where the study itself stumbles over it."""
    try:
        return run(schedule)
    except Exception as error:  # the fault may break the code before a rule
        return [f"trial: {type(error).__name__} {error}"]
