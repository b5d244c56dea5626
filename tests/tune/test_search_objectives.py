"""A real search for good and small students, killed and continued: one score up, one cost down."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chaos import Workspace, assert_sound, kill_all, wait_for
from support.chaos_hooks import Epochs

from tune.config.metrics import COSTS, PARAMETERS, VALIDATION
from tune.study.snapshot import read_summary

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS, EPOCHS, HIDDEN = 3, 2, "backbone.hidden"


@pytest.fixture
def ended(workspace: Workspace) -> Workspace:
    """A search that was killed with its workers in the last epoch of two trials, and went on."""
    log = workspace.folder / "epochs"
    workspace.hooks.append(Epochs(path=str(log), seconds=600, first=EPOCHS))
    workspace.write(
        objectives=["val_ood/miou", PARAMETERS],
        space={HIDDEN: {"choice": [8, 16, 24]}},
        budget={"trials": TRIALS},
        training={"epochs": EPOCHS, "batch_size": 64},
        pruning={"name": "none"},
        workers=2,
    )
    with workspace.driver() as driver:
        wait_for(lambda: last_epochs(log) == 2, driver)
        kill_all(driver)
    workspace.hooks.clear()
    assert workspace.search() == 0, workspace.said()
    return workspace


def last_epochs(log: Path) -> int:
    """Return how many trials have begun their last epoch."""
    lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
    return len({line.split()[0] for line in lines if line.split()[1] == str(EPOCHS)})


def test_a_search_weighs_a_score_against_the_size_of_the_network(ended: Workspace) -> None:
    assert_sound(ended, trials=TRIALS)
    views = ended.views()
    for view in views:
        assert all({*VALIDATION, *COSTS} <= row.keys() for row in view.curve.values())
        assert view.objectives == [view.kept["val_ood/miou"], view.kept[PARAMETERS]]
    sizes = {view.values[HIDDEN]: view.kept[PARAMETERS] for view in views}
    assert sizes[8] < sizes[16] < sizes[24], "no point is tried twice"
    summary = read_summary(ended.study)
    points = {v.number: (v.kept["val_ood/miou"], -v.kept[PARAMETERS]) for v in views}
    beaten = {
        number
        for number, point in points.items()
        if any(
            other != point and all(a >= b for a, b in zip(other, point, strict=True))
            for other in points.values()
        )
    }
    assert set(summary.front) == points.keys() - beaten
    assert summary.minimize == [PARAMETERS]
    best = ended.refkd("best").stdout
    assert "of parameters less is better" in best
    assert f"{sizes[8]:,.0f}" in best
    assert f"{PARAMETERS} {sizes[8]:,.0f} (trial" in ended.refkd("watch").stdout
    assert ended.refkd("report").returncode == 0
