"""Trials that wait bring machines, a notice moves them, and idle machines leave."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import STRICT, Lab, require_lab
from searches import Begun, Search, most_lost
from support.chaos import assert_sound

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(600),
]  # fmt: skip
NODES = """\
import ray
ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
for node in ray.nodes():
    if node["Alive"]:
        print(node["NodeID"], int(node["Resources"].get("CPU", 0)))
"""
DRAIN = "--reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot --deadline-remaining-seconds"


@pytest.fixture
def machine() -> Iterator[Lab]:
    """A host with a head of no CPUs, whose autoscaler runs nodes on the same host."""
    require_lab()
    with Lab("laptop") as lab:
        made = lab.on("laptop", "ray", "get-auth-token", "--generate")
        assert made.returncode == 0, made.stderr
        log = lab.folder / "autoscaling.log"
        script = Path(__file__).with_name("autoscaling.py")
        begun = lab.start("laptop", "python", script, log=log, stdin=subprocess.PIPE, **STRICT)
        with begun:
            while "started" not in log.read_text():
                assert begun.poll() is None, log.read_text()
                time.sleep(0.1)
            yield lab
            begun.communicate()


def test_machines_come_for_trials_and_leave_after_them(machine: Lab) -> None:
    assert set(workers(machine)) == set()
    search = Search.prepare(
        machine, "scale", host="laptop", seconds=1.0, place="node", retries=0, workers=2,
        budget={"trials": 4}, training={"epochs": 6, "batch_size": 64}, pruning={"name": "none"},
    )  # fmt: skip
    began = time.monotonic()
    search.start()
    search.wait(lambda begun: len({b.host for b in begun}) == 2)
    print(f"two nodes at work {time.monotonic() - began:.1f} s after the search began")

    lost = search.begun()[-1]
    drained = machine.on(
        "laptop", "sh", "-c", f"ray drain-node --node-id {lost.host} {DRAIN} 60", **STRICT
    )
    assert drained.returncode == 0, drained.stderr
    began = time.monotonic()
    search.wait(lambda begun: moved(begun, lost))
    print(f"notice in {lost}; goes on elsewhere after {time.monotonic() - began:.1f} s")
    search.finish()

    began = time.monotonic()
    assert "which none has yet: the cluster's autoscaler is to add one" in search.workspace.said()
    assert most_lost(search.begun()) == 0
    assert_sound(search.workspace, trials=4)
    assert {view.state for view in search.workspace.views()} == {"COMPLETE"}
    while workers(machine):
        time.sleep(1)
    print(f"the last node left {time.monotonic() - began:.1f} s after the end")
    bill = machine.on("laptop", "refkd", "bill", search.workspace.study)
    # The provider of this lab gives its nodes no label with their type.
    assert re.search(r"1 CPU +3 ", bill.stdout), bill.stdout + bill.stderr


def moved(begun: list[Begun], lost: Begun) -> bool:
    """Return whether a trial has begun an epoch on another node."""
    return any(b.trial == lost.trial and b.host != lost.host for b in begun)


def workers(lab: Lab) -> list[str]:
    """Return the nodes that hold trials."""
    told = lab.on("laptop", "python", "-c", NODES, **STRICT)
    assert told.returncode == 0, told.stderr
    return [node for node, cpus in map(str.split, told.stdout.splitlines()) if int(cpus)]
