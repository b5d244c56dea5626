"""A real `ray up` over SSH, a search over its three nodes, and `ray down`."""

from __future__ import annotations

import pytest
from chaos import assert_sound
from hosts import WORKERS, Cluster, Search

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]
TRIALS = 6


def test_a_search_uses_every_node_and_ray_down_leaves_nothing(cluster: Cluster) -> None:
    search = Search.prepare(cluster, "calm", seconds=0.5, budget={"trials": TRIALS})
    search.start()
    search.finish()
    assert_sound(search.workspace, trials=TRIALS)
    assert {begun.host for begun in search.begun()} == {"rk-head", "rk-w1", "rk-w2"}

    cluster.down()
    for name in ("head", *WORKERS):
        cluster.gone(name)
