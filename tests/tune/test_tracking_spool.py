"""The spool: what is appended comes back once, in order, whatever was torn off its end."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune.tracking.spool import Event, Spool

OPEN_FILES = Path("/proc/self/fd")
RUNS = st.sampled_from(["trial/0000", "trial/0001", "teacher/id"])
METRICS = st.dictionaries(st.text(max_size=5), st.floats(), max_size=3)
EPOCHS = st.builds(
    lambda run, step, metrics: epoch(run, step, metrics), RUNS, st.integers(1, 5), METRICS
)
ENDS = st.builds(
    lambda run, status: end(run, status), RUNS, st.sampled_from(["FINISHED", "FAILED"])
)
EVENTS = st.lists(EPOCHS | ENDS, max_size=12)


def epoch(run: str, step: int, metrics: dict[str, float] | None = None) -> Event:
    return Event(kind="epoch", run=run, time=7, body={"step": step, "metrics": metrics or {}})


def end(run: str, status: str = "FINISHED") -> Event:
    return Event(kind="end", run=run, time=8, body={"status": status, "tags": {}})


def begin(run: str, **tags: str) -> Event:
    return Event(kind="run", run=run, time=6, body={"name": run, "params": {}, "tags": tags})


def events(spool: Spool) -> list[Event | str]:
    return [event for _, event in spool.read(0, size=-1)]


@given(given_events=EVENTS, cut=st.integers(0, 2000))
@settings(deadline=None)
def test_a_torn_end_loses_only_what_was_torn(given_events: list[Event], cut: int) -> None:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        for event in given_events:
            spool.append(event)
        path = Path(folder) / "events.jsonl"
        content = path.read_bytes()
        path.write_bytes(content[:cut])

        again = Spool(Path(folder))
        whole = content[:cut].count(b"\n")
        assert repr(events(again)) == repr(events_of(content)[:whole])
        again.append(begin("after"))
        assert events(again)[whole:] == [begin("after")]


def events_of(content: bytes) -> list[Event]:
    return [Event(**json.loads(line)) for line in content.splitlines()]


@given(given_events=EVENTS, again=EVENTS)
@settings(deadline=None)
def test_what_is_told_twice_is_held_once(given_events: list[Event], again: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        for batch in (given_events, again):
            spool = Spool(Path(folder))
            for event in batch:
                spool.append(event)
                assert not spool.append(event)
        steps = [(e.run, e.body["step"]) for e in events(spool) if e.kind == "epoch"]
        assert len(steps) == len(set(steps))


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (epoch("a", 1, {"x": 1.0}), epoch("a", 1, {"x": 2.0}), False),
        (epoch("a", 1), epoch("a", 2), True),
        (epoch("a", 1), epoch("b", 1), True),
        (begin("a", attempt="1"), begin("a", attempt="1"), False),
        (begin("a", attempt="1"), begin("a", attempt="2"), True),
        (end("a", "KILLED"), end("a", "FINISHED"), True),
    ],
)
def test_an_epoch_is_told_once_and_the_rest_when_it_changes(
    tmp_path: Path, first: Event, second: Event, kept: bool
) -> None:
    Spool(tmp_path).append(first)
    assert Spool(tmp_path).append(second) is kept


def test_a_run_that_begins_again_can_end_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for event in (begin("a", attempt="1"), end("a")):
        spool.append(event)
    assert spool.holds("end", "a")
    spool.append(begin("a", attempt="2"))
    assert not spool.holds("end", "a")
    assert spool.append(end("a"))
    assert Spool(tmp_path).holds("end", "a")


def test_reading_goes_on_where_it_stopped_in_pieces(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for step in range(50):
        spool.append(epoch("a", step))
    found: list[Any] = []
    offset = 0
    while batch := spool.read(offset, size=200):
        found += [event.body["step"] for _, event in batch if isinstance(event, Event)]
        offset = batch[-1][0]
    assert found == list(range(50))


@pytest.mark.parametrize("line", ["not json", '{"kind": "end"}', "[]", "3", "\x00\x00"])
def test_a_line_that_is_no_event_comes_as_its_text(tmp_path: Path, line: str) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "events.jsonl").write_text(line + "\n")
    spool.append(end("a"))
    assert events(spool) == [line, end("a")]


def test_marks_are_kept_for_each_receiver_and_name_none(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(end("a"))
    offset = spool.read(0)[-1][0]
    spool.set_mark("http://me:secret@host", offset)
    assert Spool(tmp_path).mark("http://me:secret@host") == offset
    assert Spool(tmp_path).mark("http://another") == 0
    assert not [p for p in tmp_path.iterdir() if "secret" in p.name + p.read_text()]


def test_a_mark_beyond_the_file_is_not_believed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(end("a"))
    spool.set_mark("here", 10_000)
    assert spool.mark("here") == 0


def test_two_studies_of_one_name_differ(tmp_path: Path) -> None:
    one, two = Spool(tmp_path / "one"), Spool(tmp_path / "two")
    assert one.identity != two.identity
    assert Spool(tmp_path / "one").identity == one.identity


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="needs Linux's list of open files")
def test_no_file_stays_open(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(begin("trial/0000"))
    before = len(list(OPEN_FILES.iterdir()))
    for step in range(20):
        spool.append(epoch("trial/0000", step))
    assert len(list(OPEN_FILES.iterdir())) == before
