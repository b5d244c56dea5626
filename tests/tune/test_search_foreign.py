"""A real search in a study that other programs write to before and meanwhile."""

from __future__ import annotations

import json

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from support.chaos import Workspace, wait_for

from tune.audit.examine import examine
from tune.audit.replay import replay
from tune.study.locate import locate
from tune.study.snapshot import open_snapshot
from tune.study.view import FOREIGN

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
LAMBDA = "distill.lambda_id"


def test_a_search_goes_on_among_foreign_trials(workspace: Workspace) -> None:
    workspace.write(budget={"trials": 4}, workers=1)
    place = locate(workspace.study)
    place.folder.mkdir(parents=True)
    study = optuna.create_study(
        study_name=place.name, storage=place.storage.reveal(), directions=["maximize"] * 2
    )
    study.add_trial(create_trial(values=[99.0, 99.0]))
    study.enqueue_trial({LAMBDA: "high"})
    study.enqueue_trial({LAMBDA: 0.25})
    with workspace.driver() as driver:

        def begun() -> bool:
            return any("epoch:0001" in t.user_attrs for t in study.get_trials())

        wait_for(begun, driver)
        study.ask()
        (running,) = [t for t in study.get_trials() if t.state == TrialState.RUNNING and t.params]
        study.tell(running.number, state=TrialState.FAIL)
        assert driver.wait() == 0, workspace.said()
    snapshot = open_snapshot(workspace.study)
    states = {v.number: v.state for v in snapshot.trials}
    assert [n for n, state in states.items() if state == FOREIGN] == [0, 2, 3]
    assert states[1] == "FAIL"
    assert sum(state in ("COMPLETE", "PRUNED") for state in states.values()) == 4
    assert "trial 1: enqueued with distill.lambda_id=high, which is no number" in workspace.said()
    assert not {0, 1, 2, 3} & set(snapshot.summary.front)
    assert replay(snapshot.optuna).differences == []
    assert examine(workspace.study).findings == []
    told = json.loads(workspace.refkd("status", "--json").stdout)
    assert [t["state"] for t in told["trials"]][:4] == [FOREIGN, "FAIL", FOREIGN, FOREIGN]
    assert FOREIGN in workspace.refkd("watch", "--once").stdout
    assert workspace.refkd("report").returncode == 0
    page = (place.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "another program put it here" in page
    (run,) = [r for r in workspace.mlflow()[1] if r.data.tags.get("refkd.trial") == "2"]
    assert (run.info.status, run.data.tags["refkd.state"]) == ("KILLED", FOREIGN)
