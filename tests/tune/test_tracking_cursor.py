"""The cursor: what a server has is not pending, in whatever order it was sent."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkd.urls import Url
from tune.tracking.cursor import Cursor
from tune.tracking.operations import BeginRun, EndRun, KeepFile, LogEpoch, Operation

RUNS = st.sampled_from(["study", "trial/0000", "trial/0001"])
TAGS = st.dictionaries(st.sampled_from(["attempt", "state"]), st.sampled_from(["1", "2"]))
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(BeginRun, run=RUNS, time=st.just(0), name=RUNS, params=TAGS, tags=TAGS),
    st.builds(
        EndRun,
        run=RUNS,
        time=st.just(0),
        status=st.sampled_from(["FINISHED", "FAILED"]),
        tags=TAGS,
        metrics=st.just({}),
    ),
    st.builds(
        KeepFile,
        run=RUNS,
        time=st.just(0),
        path=st.sampled_from(["a", "b"]),
        folder=st.none(),
        sha256=st.sampled_from(["1", "2"]),
    ),
)


def log(epoch: int, run: str = "trial/0000", time: int = 0) -> LogEpoch:
    return LogEpoch(run=run, time=time, epoch=epoch, metrics={"m": 0.5})


def begin(run: str = "trial/0000", **tags: str) -> BeginRun:
    return BeginRun(run=run, time=0, name=run, params={}, tags=tags)


def end(run: str = "trial/0000", time: int = 0) -> EndRun:
    return EndRun(run=run, time=time, status="FINISHED", tags={}, metrics={})


@pytest.mark.parametrize(
    "content", ["", '{"operations": {', "[]", '{"operations": 3, "epochs": {}}']
)
def test_a_damaged_file_counts_as_lost(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cursor = Cursor(tmp_path, Url("here"), "experiment")
    cursor.add([begin(), log(1)])
    cursor.save()
    (path,) = tmp_path.iterdir()
    path.write_text(content, encoding="utf-8")
    again = Cursor(tmp_path, Url("here"), "experiment")
    assert again.pending([begin(), log(1)]) == [begin(), log(1)]
    assert f"{path} is damaged" in caplog.text


@given(st.lists(st.lists(OPERATIONS, max_size=6, unique_by=lambda one: one.key), max_size=4))
def test_the_last_of_each_key_is_what_the_server_has(calls: list[list[Operation]]) -> None:
    with TemporaryDirectory() as name:
        for call in calls:
            cursor = Cursor(Path(name), Url("here"), "experiment")
            cursor.add(cursor.pending(call))
            cursor.save()
            again = Cursor(Path(name), Url("here"), "experiment")
            last = {one.key: one for one in call}
            ends = (one for one in last.values() if isinstance(one, EndRun))
            closed = {one.run for one in ends if call.index(one) > _begun(call, one.run)}
            opened = [one for one in last.values() if not isinstance(one, EndRun)]
            assert again.pending(opened) == []
            assert not [one for one in again.pending(last.values()) if one.run in closed]


def _begun(call: list[Operation], run: str) -> int:
    places = [i for i, one in enumerate(call) if isinstance(one, BeginRun) and one.run == run]
    return max(places, default=-1)


def test_epochs_are_pending_from_the_last_one_on(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path, Url("here"), "experiment")
    cursor.add([log(1), log(2), log(1, "trial/0001")])
    found = cursor.pending([log(e, time=e) for e in range(1, 5)] + [log(1, "trial/0001")])
    assert [(one.run, one.time) for one in found] == [("trial/0000", 3), ("trial/0000", 4)]


def test_a_run_that_begins_again_is_closed_again(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path, Url("here"), "experiment")
    cursor.add([begin(attempt="1"), end()])
    assert cursor.pending([begin(attempt="1"), end(time=7)]) == []
    both = [begin(attempt="2"), end()]
    assert cursor.pending(both) == both
    cursor.add(both[:1])
    assert cursor.pending(both) == both[1:]


def test_what_is_forgotten_is_pending(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path, Url("here"), "experiment")
    known = [begin(), log(1), log(2), end(), begin("trial/0001"), log(1, "trial/0001")]
    cursor.add(known)
    cursor.forget(known[:4])
    assert cursor.pending(known) == known[:4]


def test_targets_have_cursors_of_their_own_without_passwords(tmp_path: Path) -> None:
    for uri, experiment in (("http://me:secret@a", "x"), ("http://b", "x"), ("http://b", "y")):
        cursor = Cursor(tmp_path, Url(uri), experiment)
        assert cursor.pending([begin()]) == [begin()]
        cursor.add([begin()])
        cursor.save()
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert "secret" not in "".join(path.name + path.read_text() for path in files)
    assert Cursor(tmp_path, Url("http://me:other@a"), "x").pending([begin()]) == []
