"""A real search of two workers, killed with all its processes, and continued to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chaos import Workspace, assert_sound, kill_all, wait_for
from support.chaos_hooks import Epochs

pytestmark = pytest.mark.filterwarnings(
    "ignore::sqlalchemy.exc.SADeprecationWarning"  # of MLflow's
)
TRIALS, EPOCHS = 3, 2


@pytest.fixture
def killed(workspace: Workspace) -> Workspace:
    """A search whose driver and workers were killed while two trials were in their last epoch."""
    log = workspace.folder / "epochs"
    workspace.hooks.append(Epochs(path=str(log), seconds=600, first=EPOCHS))
    workspace.write(
        budget={"trials": TRIALS},
        training={"epochs": EPOCHS, "batch_size": 64},
        pruning={"name": "none"},
        workers=2,
    )
    with workspace.driver() as driver:
        wait_for(lambda: len(last_epochs(log)) == 2, driver)
        kill_all(driver)
    workspace.hooks.clear()
    return workspace


def last_epochs(log: Path) -> set[str]:
    """Return the trials that have begun their last epoch."""
    lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
    return {line.split()[0] for line in lines if line.split()[1] == str(EPOCHS)}


def test_a_search_that_is_killed_goes_on_to_one_outcome_a_trial(killed: Workspace) -> None:
    """And its decisions replay, its record and its files agree with the study."""
    before = killed.views()
    assert {v.state for v in before} == {"RUNNING"}
    assert killed.search() == 0, killed.said()
    assert [v.values for v in killed.views()[: len(before)]] == [v.values for v in before]
    assert_sound(killed, trials=TRIALS)
    assert set(killed.champions()) >= {"best-id", "best-ood"}
