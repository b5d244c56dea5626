"""Whether a device computes in bfloat16 faster than in float32."""

from __future__ import annotations

import time
from functools import cache

import torch

SIDE, TRIES = 256, 3


@cache
def bfloat16_gain(device: str = "cpu") -> float:
    """Return how much faster a matrix product is in bfloat16, measured here in a moment.

    Processors without instructions for it compute it many times slower than float32.
    """
    full, half = (
        _fastest(torch.ones(SIDE, SIDE, device=device, dtype=kind))
        for kind in (torch.float32, torch.bfloat16)
    )
    return full / half


def advice(precision: str, device: str = "cpu") -> str | None:
    """Return what to say of a precision that is slower here; None where it is not."""
    if precision == "float32" or (gain := bfloat16_gain(device)) >= 1:
        return None
    return (
        f"training.precision is {precision}, which this device computes {gain:.2g} times as fast "
        "as float32: float32 is better here"
    )


def _fastest(matrix: torch.Tensor) -> float:
    def once() -> float:
        begun = time.perf_counter()
        (matrix @ matrix).sum().item()  # waits for a GPU
        return time.perf_counter() - begun

    return min(once() for _ in range(TRIES))
