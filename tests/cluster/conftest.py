"""One lab and one cluster for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import Cluster
from lab import Lab, why_not


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Four hosts; skips, with the reason, where they cannot be made."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Cluster:
    """Three nodes that `ray up` has started."""
    made = Cluster(lab)
    made.write()
    made.up()
    return made
