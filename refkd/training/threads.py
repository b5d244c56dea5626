"""How many threads a process computes with."""

from __future__ import annotations

import os

import torch


def use_threads(wanted: float) -> None:
    """Compute with the whole CPUs of `wanted`, at least one, and no more than this machine has.

    Called where the work is done: who asks for it may run on a smaller machine.
    """
    torch.set_num_threads(min(max(1, int(wanted)), os.cpu_count() or 1))
