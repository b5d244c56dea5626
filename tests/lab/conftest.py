"""One lab and one cluster for all tests; each test finds it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import Cluster
from lab import Lab, why_not
from laptop import Laptop, provision

collect_ignore = ["ec2.py"]  # runs beside moto, in an environment with boto3


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Lab() as lab:
        for name in lab.running - {"laptop"}:
            provision(lab, name)
        laptop = Laptop(lab)
        laptop.change("--metrics-export-port", "--num-cpus=1 --metrics-export-port")
        made = Cluster(lab, laptop)
        made.prepare()
        yield made


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three nodes that `ray up` has started; skips, with the reason, where that cannot be."""
    _cluster.make_whole()
    return _cluster
