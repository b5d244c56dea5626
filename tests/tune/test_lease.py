"""One driver a study, on every storage: real processes that hold, die, pause and come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from support.recorded_curves import study_file

from tune.study.driver_lock import driver_lock
from tune.study.lease import DRIVER, Driver, LeaseError, driver_of, lease
from tune.study.search_study import SearchStudy
from tune.study.storage import close_storage, open_storage

STUDY = "quick"
HOLD = """
import sys, time
from tune.study.lease import lease
with lease(sys.argv[1], sys.argv[2], signs=[1.0, 1.0], renewal=0.2):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from tune.study.lease import LeaseError, lease
try:
    with lease(sys.argv[1], sys.argv[2], signs=[1.0, 1.0]):
        print("held")
except LeaseError as error:
    sys.exit(str(error))
"""


@contextmanager
def driver(url: str, study: str = STUDY) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, study],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.stdout.close()
        process.wait()


@contextmanager
def opened(url: str, study: str = STUDY) -> Iterator[optuna.Study]:
    """The study in a storage, made where it is not there; closed afterwards."""
    storage = open_storage(url)
    yield optuna.create_study(
        study_name=study, storage=storage, directions=["maximize"] * 2, load_if_exists=True
    )
    close_storage(storage)


def content(url: str, study: str = STUDY) -> tuple[dict[str, Any], list[Any]]:
    """Return all that a storage holds of a study, the renewal of its lease left out."""
    with opened(url, study) as loaded:
        attributes = dict(loaded.user_attrs)
        trials = [(t.number, t.state, t.params, t.user_attrs) for t in loaded.trials]
    if attributes.get(DRIVER):
        attributes[DRIVER] = {k: v for k, v in attributes[DRIVER].items() if k != "renewed"}
    return attributes, trials


def holder(url: str) -> Driver | None:
    with opened(url) as study:
        return driver_of(study.user_attrs)


def leave(url: str, found: Driver) -> None:
    """Store a holder that has the study but no lock, as one on another machine."""
    with opened(url) as study:
        study.set_user_attr(DRIVER, asdict(found))


def elsewhere(**changes: Any) -> Driver:
    me = asdict(Driver.me())
    return Driver(**{**me, "host": "other-machine", "user": "ann", "launch": "other", **changes})


def test_a_second_driver_is_refused_and_nothing_changes(storage_url: str) -> None:
    with driver(storage_url) as first:
        with opened(storage_url) as study:
            study.ask()
        before = content(storage_url)
        second = subprocess.run(
            [sys.executable, "-c", TRY, storage_url, STUDY],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"study 'quick' is being searched by process {first.pid} of" in second.stderr
        assert f"on {socket.gethostname()} since 20" in second.stderr
        with pytest.raises(LeaseError, match=f"process {first.pid} "):  # noqa: SIM117
            with lease(storage_url, STUDY, signs=[1.0, 1.0]):
                pytest.fail("two drivers")
        assert content(storage_url) == before


def test_a_killed_driver_is_followed_at_once(storage_url: str) -> None:
    with driver(storage_url) as first:
        first.kill()
        first.wait()
        assert holder(storage_url) is not None, "it had no time to say goodbye"
        with lease(storage_url, STUDY, signs=[1.0, 1.0]) as mine:
            assert holder(storage_url) == mine
    assert holder(storage_url) is None


def test_a_paused_driver_is_not_dead(storage_url: str) -> None:
    with driver(storage_url) as first:
        first.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        with (
            pytest.raises(LeaseError, match=f"process {first.pid} "),
            lease(storage_url, STUDY, signs=[1.0, 1.0], expiry=0.1),
        ):
            pytest.fail("two drivers")


def test_two_studies_in_one_storage_do_not_disturb_each_other(storage_url: str) -> None:
    with driver(storage_url, "one"), driver(storage_url, "two"):
        assert set(content(storage_url, "one")[0]) == {DRIVER}
        assert content(storage_url, "one")[0] != content(storage_url, "two")[0]


def test_two_spellings_of_one_file_are_one_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("study.db")
    with driver(f"sqlite:///{tmp_path}/study.db"):
        for other in ("sqlite:///study.db", "sqlite:///link.db"):
            assert not driver_lock(other, STUDY).acquire()


def test_the_study_is_made_and_left_as_the_search_expects_it(storage_url: str) -> None:
    with lease(storage_url, STUDY, signs=[1.0, 1.0, 1.0]):
        pass
    with opened(storage_url) as made:
        assert [d.name for d in made.directions] == ["MAXIMIZE"] * 3
    assert content(storage_url) == ({DRIVER: None}, [])


def test_it_is_renewed(storage_url: str) -> None:
    with lease(storage_url, STUDY, signs=[1.0, 1.0], renewal=0.05) as mine:
        deadline = time.monotonic() + 300
        while (found := holder(storage_url)) == mine and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found is not None
        assert found.renewed > mine.renewed
        assert found.launch == mine.launch


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        pytest.param({}, False, id="fresh"),
        pytest.param({"renewed": time.time() + 5000}, False, id="its clock is ahead"),
        pytest.param({"renewed": time.time() - 61}, True, id="expired"),
        pytest.param({"renewed": 0.0}, True, id="long ago"),
    ],
)
def test_a_driver_elsewhere_is_dead_once_it_is_silent(
    tmp_path: Path, changes: dict[str, float], free: bool
) -> None:
    url = f"journal:{tmp_path / 'shared.journal'}"
    leave(url, elsewhere(**changes))
    if free:
        with lease(url, STUDY, signs=[1.0, 1.0], renewal=0.05) as mine:
            assert holder(url) == mine
        return
    before = content(url)
    with (
        pytest.raises(LeaseError, match="of ann on other-machine"),
        lease(url, STUDY, signs=[1.0, 1.0]),
    ):
        pytest.fail("two drivers")
    assert content(url) == before


@pytest.mark.parametrize("behind", [100, 7200])
def test_a_driver_elsewhere_that_is_at_work_is_noticed_however_far_its_clock_is_behind(
    behind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"journal:{tmp_path / 'shared.journal'}"
    leave(url, elsewhere(renewed=time.time() - behind))
    sleep = time.sleep

    def meanwhile(seconds: float) -> None:
        if seconds == 2.0:
            leave(url, elsewhere(renewed=time.time() - behind + 1))
        else:
            sleep(seconds)

    monkeypatch.setattr("tune.study.lease.time.sleep", meanwhile)
    with (
        pytest.raises(LeaseError, match="ann"),
        lease(url, STUDY, signs=[1.0, 1.0], renewal=1.0),
    ):
        pytest.fail("two drivers")


@pytest.mark.parametrize(
    ("process", "since", "lives"),
    [
        pytest.param(os.getppid(), time.time(), True, id="runs"),
        pytest.param(os.getppid(), 0.0, False, id="its number was given away"),
        pytest.param(2**22 + 1, time.time(), False, id="ended"),
    ],
)
def test_a_driver_here_lives_as_long_as_its_process(
    process: int, since: float, lives: bool
) -> None:
    found = elsewhere(host=socket.gethostname(), process=process, since=since)
    assert found.lives() == lives


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "&"])
def started(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python as a terminal starts it, and as a script's `&` does: there it ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("started")
def test_a_lost_lease_interrupts_the_driver(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'shared.journal'}"
    with (  # noqa: PT012
        pytest.raises(LeaseError, match="ann"),
        lease(url, STUDY, signs=[1.0, 1.0], renewal=0.05),
    ):
        leave(url, elsewhere())
        with pytest.raises(KeyboardInterrupt):
            time.sleep(300)
    found = holder(url)
    assert found is not None
    assert found.user == "ann", "the successor's name is left alone"


@pytest.mark.parametrize("left", [False, True], ids=["at work", "ended again"])
def test_a_driver_that_stood_still_writes_nothing_in_the_next_ones_lease(
    tmp_path: Path, left: bool
) -> None:
    """It looks before its first write: the thread of its lease may wake up later."""
    url, file = f"journal:{tmp_path / 'shared.journal'}", study_file(name=STUDY)
    with pytest.raises(LeaseError, match="is being searched by"):  # noqa: PT012, SIM117
        with lease(url, STUDY, signs=[1.0, 1.0], renewal=1000):
            study = SearchStudy(file.search_spec(), url)
            study.begin_launch()
            ask = study.ask()
            assert ask is not None
            leave(url, elsewhere())
            if left:
                with opened(url) as other:
                    other.set_user_attr(DRIVER, None)
            before = content(url)
            writes: list[Callable[[], object]] = [
                lambda: study.record(ask.number, 1, {"val_id/miou": 1.0}),
                lambda: study.fail(ask.number, "late"),
                study.ask,
                lambda: study.enqueue({"distill.lambda_id": 0.5}),
                lambda: study.note("marks", []),
            ]
            for write in writes:
                study.holder._looked = 0.0, 0.0
                with pytest.raises(LeaseError, match="is being searched by"):
                    write()
            assert content(url) == before
    assert content(url) == before, "the next one's name is left alone"


def test_a_renewal_that_fails_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "shared.journal"
    with lease(f"journal:{path}", STUDY, signs=[1.0, 1.0], renewal=0.05) as mine:
        path.rename(tmp_path / "away")
        deadline = time.monotonic() + 300
        while "could not be renewed" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        (tmp_path / "away").rename(path)
        while (found := holder(f"journal:{path}")) == mine and time.monotonic() < deadline:
            time.sleep(0.05)
    assert found is not None
    assert found.renewed > mine.renewed
    assert caplog.text.count("could not be renewed") == 1


def test_a_file_system_without_locks_leaves_it_to_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    url = f"journal:{tmp_path / 'shared.journal'}"
    with lease(url, STUDY, signs=[1.0, 1.0]) as mine:
        assert holder(url) == mine
    with (
        driver(url),
        pytest.raises(LeaseError, match="being searched"),
        lease(url, STUDY, signs=[1.0, 1.0]),
    ):
        pytest.fail("two drivers")
