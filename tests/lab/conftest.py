"""One lab and one cluster for all tests; each test finds it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import Cluster
from lab import Lab, why_not


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Lab() as lab:
        made = Cluster(lab)
        made.write()
        yield made


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three nodes that `ray up` has started; skips, with the reason, where that cannot be."""
    _cluster.make_whole()
    return _cluster
