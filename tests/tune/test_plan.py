"""A plan spends its budgets in the time that epochs take here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from refkd.data.dataset import Dataset
from tune.config.study_file import load_study_file
from tune.simulation.plan import Plan, make_plan

EPOCHS = 4


def planned(folder: Path, dataset: Dataset, **changes: Any) -> Plan:
    content = {
        "name": "planned",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "backbone": {"hidden": 8, "heads": 2},
        "training": {"epochs": EPOCHS, "batch_size": 64},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "pruning": {"name": "none"},
        "workers": 1,
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return make_plan(path, load_study_file(path))


def test_without_limits_every_trial_runs_to_its_end(tiny_dataset: Dataset, tmp_path: Path) -> None:
    plan = planned(tmp_path, tiny_dataset, budget={"trials": 5})
    assert plan.trials == pytest.approx(5)
    assert plan.epochs == 5 * EPOCHS
    assert plan.cpu_hours * 3600 == pytest.approx(plan.epochs * plan.epoch_seconds)
    assert plan.hours == pytest.approx(plan.cpu_hours)


@pytest.mark.parametrize("limit", ["cpu_hours", "wall_hours"])
def test_a_limit_of_time_ends_the_plan_where_it_would_end_the_search(
    limit: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    enough = planned(tmp_path, tiny_dataset, budget={"trials": 40})
    assert enough.trials == pytest.approx(40)
    half = {"trials": 40, limit: enough.hours / 2}
    plan = planned(tmp_path, tiny_dataset, budget=half)
    # Each plan measures anew how long an epoch takes, so only what follows from its own measure
    # is known: the trial that runs when the limit is reached is finished.
    used = plan.cpu_hours if limit == "cpu_hours" else plan.hours
    if plan.trials < 39.5:
        most = half[limit] + EPOCHS * plan.epoch_seconds / 3600
        assert half[limit] - 1e-9 <= used <= most + 1e-9
    else:
        assert used <= half[limit]
