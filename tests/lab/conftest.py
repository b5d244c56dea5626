"""One lab and one cluster for all tests; each test finds it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import Cluster, on_three_hosts
from lab import Lab, require_lab

collect_ignore = ["ec2.py"]  # runs beside moto, in an environment with boto3


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    require_lab()
    with Lab() as lab:
        made = on_three_hosts(lab)
        made.prepare()
        yield made


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three nodes that `ray up` has started; skips, with the reason, where that cannot be."""
    _cluster.make_whole()
    return _cluster
