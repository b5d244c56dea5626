"""How many threads a process computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(wanted: float) -> None:
    """Compute with the whole CPUs of `wanted`, at least one, and no more than this machine has.

    Called where the work is done: who asks for it may run on a smaller machine.
    """
    torch.set_num_threads(min(max(1, int(wanted)), os.cpu_count() or 1))


@contextmanager
def threads(wanted: float) -> Iterator[None]:
    """Compute so while the body runs: for a process that is not a worker's alone."""
    before = torch.get_num_threads()
    use_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
