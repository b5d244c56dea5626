"""A full disk under the cursor: no search stops, and nothing is lost or sent twice after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.simulated_search import TRIALS, check, recorded_file, search
from support.small_disk import fill, small_disk

from refkd.data.dataset import Dataset

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 64 KiB."""
    with small_disk(tmp_path / "disk", "size=64k") as place:
        yield place


@pytest.mark.parametrize("freed", ["while searching", "by the next launch"])
def test_a_search_goes_on_and_its_record_is_whole_in_the_end(
    freed: str,
    disk: Path,
    tiny_dataset: Dataset,
    mlflow_store: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = recorded_file(tmp_path, mlflow_store)
    folder = file.folder / "tracking"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(disk)

    def disturb(number: int) -> None:
        if number == 1:
            fill(disk)
        if number == 3 and freed == "while searching":
            (disk / "filler").unlink()

    study = search(file, tiny_dataset, tmp_path, before=disturb)
    assert len(study.views()) == TRIALS
    check(study, mlflow_store)
    if freed == "by the next launch":
        assert "No space left" in caplog.text
        (disk / "filler").unlink()
    search(file, tiny_dataset, tmp_path)
    check(study, mlflow_store)
