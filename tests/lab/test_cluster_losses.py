"""Nodes, the driver and the head of a real cluster are lost in the middle of a search."""

from __future__ import annotations

import time

import pytest
from hosts import WORKERS, Cluster
from searches import Begun, Search, most_lost
from support.chaos import assert_sound

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EPOCHS = {"training": {"epochs": 8, "batch_size": 64}, "pruning": {"name": "none"}}
SECONDS = 1.5


@pytest.mark.system
def test_nodes_are_lost_and_their_trials_go_on_elsewhere(cluster: Cluster) -> None:
    search = Search.prepare(
        cluster.lab, "nodes", seconds=SECONDS, retries=3, budget={"trials": 8}, **EPOCHS
    )
    search.start()
    lost = search.busy("w1")
    cluster.whole = False
    assert cluster.lab.kill("w1", "raylet") > 0
    again, seconds = search.moved(lost)
    print(f"node killed in {lost}; goes on as {again} after {seconds:.1f} s")

    lost = search.busy("w2")
    cluster.lab.cut("w2")
    again, seconds = search.moved(lost)
    print(f"node cut off in {lost}; goes on as {again} after {seconds:.1f} s")
    taken_over = len(search.begun())
    search.wait(lambda begun: len(begun) > taken_over + 2)
    cluster.lab.mend("w2")

    search.finish()
    begun = search.begun()
    late = [b for b in begun[taken_over:] if (b.trial, b.host) == (lost.trial, lost.host)]
    assert len(late) <= 1, "the node that was cut off trains on"
    assert most_lost([b for b in begun if not _of_the_cut_off(b, lost, again)]) <= 1
    assert_sound(search.workspace, trials=8)


@pytest.mark.nightly
def test_driver_and_head_are_lost_and_the_same_command_goes_on(cluster: Cluster) -> None:
    search = Search.prepare(cluster.lab, "head", seconds=SECONDS, budget={"trials": 6}, **EPOCHS)
    search.start()
    search.busy("w1")
    search.lose_driver()
    already, began = len(search.begun()), time.monotonic()
    search.start()
    search.wait(lambda begun: len(begun) > already + 2)
    print(f"driver killed; its search goes on within {time.monotonic() - began:.1f} s")

    search.busy("w2")
    cluster.lab.kill("head", "ray", "refkd search")
    assert search.driver is not None
    search.driver.wait()
    began = time.monotonic()
    cluster.up()
    search.start()
    already = len(search.begun())
    search.wait(lambda begun: len(begun) > already)
    print(f"head lost; its search goes on {time.monotonic() - began:.1f} s after `ray up` began")
    search.finish()
    assert most_lost(search.begun()) <= 1
    assert_sound(search.workspace, trials=6)
    cluster.wait_for_nodes("head", *WORKERS)


def _of_the_cut_off(begun: Begun, lost: Begun, again: Begun) -> bool:
    """Return whether the node that was cut off began this epoch, beyond where the retry began."""
    ours = (begun.trial, begun.host) == (lost.trial, lost.host)
    return ours and begun.epoch > again.epoch
