"""A full disk under the spool: no search stops, no line is torn, and nothing is lost after."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.simulated_search import TRIALS, check, recorded_file, search

from refkd.data.dataset import Dataset
from tune.tracking.record import spool_folder
from tune.tracking.spool import Event, Spool

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"
)


def event(step: int) -> Event:
    return Event(kind="epoch", run="a", time=step, body={"step": step, "metrics": {"m": 0.5}})


def steps(spool: Spool) -> list[int]:
    found = [event for _, event in spool.read(0, size=-1)]
    assert all(isinstance(event, Event) for event in found), "a line is torn"
    return [event.body["step"] for event in found if isinstance(event, Event)]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: a write is cut short, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(size=st.integers(1, 900), kept=st.integers(0, 3), after=st.integers(0, 3))
def test_what_a_full_disk_kept_out_comes_in_its_place(size: int, kept: int, after: int) -> None:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        for step in range(kept):
            assert spool.append(event(step))
        with largest_file(size):
            for step in range(kept, 10):
                assert spool.append(event(step))
                assert not spool.append(event(step))
            written = steps(spool)
            assert written == list(range(len(written)))
        for step in range(10, 10 + after):
            assert spool.append(event(step))
        assert spool.flush() == 0
        assert spool.problem is None
        assert steps(spool) == list(range(10 + after))
        assert steps(Spool(Path(folder))) == list(range(10 + after))


def test_what_was_never_written_is_no_part_of_the_next_launch(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(event(0))
    with largest_file(1):
        spool.append(event(1))
        assert spool.flush() == 1
        assert spool.problem is not None
    again = Spool(tmp_path)
    assert steps(again) == [0]
    assert again.append(event(1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (disk / "filler").write_bytes(bytes(1 << 17))


@pytest.mark.parametrize("freed", ["while searching", "by the next launch"])
def test_a_search_goes_on_and_its_record_is_whole_in_the_end(
    freed: str,
    small_disk: Path,
    tiny_dataset: Dataset,
    mlflow_store: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = recorded_file(tmp_path, mlflow_store)
    spool = spool_folder(file)
    spool.parent.mkdir(parents=True)
    spool.symlink_to(small_disk)

    def disturb(number: int) -> None:
        if number == 1:
            fill(small_disk)
        if number == 3 and freed == "while searching":
            (small_disk / "filler").unlink()

    study = search(file, tiny_dataset, tmp_path, before=disturb)
    assert len(study.views()) == TRIALS
    assert "No space left" in caplog.text
    if freed == "by the next launch":
        assert "events did not reach MLflow" in caplog.text
        (small_disk / "filler").unlink()
        search(file, tiny_dataset, tmp_path)
    check(study, mlflow_store)
