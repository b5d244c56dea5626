"""Joining a cluster where none is."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager

import pytest

from refkd.errors import RefKDError
from tune.config.limits import Resources
from tune.execution.cluster import joined, ray_session


@pytest.mark.parametrize("searching", [False, True])
def test_an_address_where_nobody_listens_is_one_line(searching: bool) -> None:
    with socket.socket() as probe:  # bound, and it never listens
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        join: AbstractContextManager[None] = (
            ray_session(Resources(), address=address) if searching else joined(address)
        )
        with pytest.raises(RefKDError, match=f"{address}: no cluster answers"), join:
            pytest.fail("it was joined")
