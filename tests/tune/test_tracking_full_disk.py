"""A full disk under the cursor: no search stops, and nothing is lost or sent twice after."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.simulated_search import TRIALS, check, recorded_file, search

from refkd.data.dataset import Dataset

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"
)


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
    folder = file.folder / "tracking"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(small_disk)

    def disturb(number: int) -> None:
        if number == 1:
            fill(small_disk)
        if number == 3 and freed == "while searching":
            (small_disk / "filler").unlink()

    study = search(file, tiny_dataset, tmp_path, before=disturb)
    assert len(study.views()) == TRIALS
    check(study, mlflow_store)
    if freed == "by the next launch":
        assert "No space left" in caplog.text
        (small_disk / "filler").unlink()
    search(file, tiny_dataset, tmp_path)
    check(study, mlflow_store)
