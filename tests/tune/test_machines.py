"""Whether a trial fits a machine of the cluster, of now or of later."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from refkd.errors import RefKDError
from tune.config.limits import Resources
from tune.execution.cluster import Machine, check_resources, machines_coming

HEAD: Machine = {"CPU": 0.0, "memory": 1e9}
SMALL: Machine = {"CPU": 4.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("wanted", "there", "coming"),
    [
        (Resources(cpu=1), [{"CPU": 2.0}], []),
        (Resources(cpu=2, gpu=0.5), [HEAD, SMALL], []),
        (Resources(cpu=2, gpu=0.5), [HEAD], [SMALL]),
        (Resources(cpu=64, gpu=8), [HEAD], [{}]),
    ],
)
def test_a_trial_that_fits_one_machine_may_start(
    wanted: Resources, there: Sequence[Machine], coming: Sequence[Machine]
) -> None:
    check_resources(wanted, there, coming)


@pytest.mark.parametrize(
    ("wanted", "there", "coming"),
    [
        (Resources(cpu=1), [HEAD], []),
        (Resources(cpu=1, gpu=2), [SMALL, SMALL], []),  # two of one GPU hold no trial of two
        (Resources(cpu=8), [HEAD], [SMALL]),
        (Resources(), [], []),
    ],
)
def test_a_trial_that_fits_none_is_refused(
    wanted: Resources, there: Sequence[Machine], coming: Sequence[Machine]
) -> None:
    with pytest.raises(RefKDError, match="No trial could ever start") as refused:
        check_resources(wanted, there, coming)
    for machine in [*there, *coming]:
        assert f"{machine['CPU']:g} CPU" in str(refused.value)


def test_what_an_autoscaler_may_add_is_read_from_its_file(tmp_path: Path) -> None:
    """The head's own type and one that may not come are nothing to wait for."""
    file = tmp_path / "cluster.yaml"
    types = {
        "head": {"resources": {"CPU": 0}, "max_workers": 2},
        "spot": {"resources": dict(SMALL), "max_workers": 2},
        "none": {"resources": {"CPU": 96}, "max_workers": 0},
    }
    file.write_text(yaml.safe_dump({"head_node_type": "head", "available_node_types": types}))
    before = machines_coming()
    sleep = [sys.executable, "-c", "input()", f"--autoscaling-config={file}"]
    with subprocess.Popen(sleep, stdin=subprocess.PIPE) as monitor:
        added = [machine for machine in machines_coming() if machine not in before]
        monitor.communicate(b"\n")
    assert added == [SMALL]


def test_on_kubernetes_nothing_is_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_KUBERAY_IN_USE", "1")
    check_resources(Resources(cpu=8, gpu=8), [HEAD], machines_coming())
