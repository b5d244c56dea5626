"""A disk that fills up under a search: nothing of it becomes a result, and no budget is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.chaos import Workspace, assert_sound, wait_for, wait_for_end
from support.chaos_hooks import Epochs
from support.small_disk import fill, small_disk, use_up_files

from tune.ending.exits import ExitCode

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS = 3


@pytest.fixture
def cramped(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace on a disk with little room, which a test fills."""
    workspace.write(budget={"trials": TRIALS}, pruning={"name": "none"}, workers=2)
    workspace.hooks.append(Epochs(path=str(workspace.folder / "epochs"), seconds=0.5))
    held = workspace.runs.rename(workspace.folder / "held")
    with small_disk(workspace.runs, "size=48m", "nr_inodes=2k"):
        shutil.copytree(held, workspace.runs, dirs_exist_ok=True)
        yield workspace


def begun(workspace: Workspace) -> int:
    log = workspace.folder / "epochs"
    return len(log.read_text(encoding="ascii").splitlines()) if log.exists() else 0


@pytest.mark.parametrize("use_up", [fill, use_up_files])
def test_a_full_disk_stops_a_search_that_then_goes_on_as_if_nothing_had_been(
    use_up: Callable[[Path], Callable[[], None]], cramped: Workspace
) -> None:
    with cramped.driver() as driver:
        wait_for(lambda: begun(cramped) >= 3, driver)
        free = use_up(cramped.runs)
        assert driver.wait(timeout=300) == ExitCode.LEFT, cramped.said()
        wait_for_end(driver)
    assert cramped.search() == ExitCode.LEFT, cramped.said()
    for words in ("Traceback", 'File "', "Unhandled error"):  # of Python, of Ray
        assert words not in cramped.said()
    for line in [line for line in cramped.said().splitlines() if line.startswith("refkd: ")]:
        assert "No space left on device" in line or "disk is full" in line
        assert "free some space" in line
        assert line.endswith("run the same command again to continue")
    free()
    assert {v.state for v in cramped.views()} == {"RUNNING"}
    assert cramped.search() == ExitCode.DONE, cramped.said()
    assert_sound(cramped, trials=TRIALS)
    assert {v.state for v in cramped.views()} == {"COMPLETE"}
