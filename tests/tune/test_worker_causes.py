"""Why a worker ended, as a run of jobs hears it from a real Ray run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import ray.tune

from tune.config.limits import Resources
from tune.execution.cluster import ray_session
from tune.execution.preemption import NodeLeavingError
from tune.execution.searcher import JobScheduler, JobSearcher


@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("leaves", [True, False])
def test_the_run_knows_who_left_its_node_and_who_failed(
    leaves: bool, tmp_path: Path, ray_address: str
) -> None:
    def leave(config: dict[str, Any]) -> None:
        ray.tune.report({"started": 1})
        if config["leaves"]:
            raise NodeLeavingError("its node is about to be taken away")
        raise RuntimeError("out of memory")

    searcher = JobSearcher(cast("Any", None), retries=0)
    with ray_session(Resources(), address=ray_address):
        ray.tune.Tuner(
            leave,
            param_space={"leaves": leaves},
            tune_config=ray.tune.TuneConfig(scheduler=JobScheduler(searcher)),
            run_config=ray.tune.RunConfig(storage_path=str(tmp_path), name="one", verbose=0),
        ).fit()
    [text] = searcher.errors.values()
    assert text.endswith("about to be taken away" if leaves else "out of memory")
    assert (NodeLeavingError.__name__ in text) is leaves
