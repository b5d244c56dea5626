"""How many threads a process computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from refkd.training.threads import use_threads


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("wanted", "cores", "threads"), [(0.25, 8, 1), (2.9, 8, 2), (16, 4, 4), (3, None, 1)]
)
def test_threads_are_whole_and_no_more_than_this_machine_has(
    monkeypatch: pytest.MonkeyPatch, wanted: float, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    use_threads(wanted)
    assert torch.get_num_threads() == threads
