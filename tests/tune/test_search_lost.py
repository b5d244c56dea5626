"""A search whose Ray or driver is killed: it is noticed, nothing is left, the next run goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from support.chaos import Workspace, assert_sound, wait_for, wait_for_end
from support.chaos_hooks import Epochs

from tune.ending.exits import ExitCode

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS = 3


@pytest.mark.parametrize("killed", ["raylet", "gcs_server", "driver"])
def test_a_search_goes_on_after_the_death_of_its(
    killed: str, workspace: Workspace, ray_temporary: Path
) -> None:
    workspace.write(budget={"trials": TRIALS}, pruning={"name": "none"}, workers=2)
    epochs = workspace.folder / "epochs"
    workspace.hooks.append(Epochs(path=str(epochs), seconds=0.5))
    with workspace.driver() as driver:
        wait_for(lambda: epochs.exists() and len(epochs.read_bytes().splitlines()) >= 3, driver)
        children = psutil.Process(driver.pid).children()
        if killed == "driver":
            driver.kill()
            assert driver.wait(timeout=300) == -signal.SIGKILL
        else:
            next(one for one in children if one.name() == killed).kill()
            assert driver.wait(timeout=300) == ExitCode.RUN_AGAIN
            last = workspace.said().splitlines()[-1]
            assert last.startswith(f"refkd: Ray's {killed} has died")
            assert last.endswith("run the same command again to continue")
            assert "Traceback" not in workspace.said()
        wait_for_end(driver)
    psutil.wait_procs(children)
    assert list(ray_temporary.iterdir()) == []
    assert workspace.search() == 0, workspace.said()
    assert_sound(workspace, trials=TRIALS)
    assert list(ray_temporary.iterdir()) == []
