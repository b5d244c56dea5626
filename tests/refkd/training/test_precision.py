"""Whether bfloat16 pays is measured, and said where it does not."""

from __future__ import annotations

import pytest
import torch

from refkd.training import precision
from refkd.training.precision import advice, bfloat16_gain


def test_the_gain_is_measured_and_draws_nothing_at_random() -> None:
    state = torch.random.get_rng_state()
    assert bfloat16_gain() > 0
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("gain", "said"), [(0.05, True), (1.6, False)])
def test_only_a_precision_that_costs_time_is_advised_against(
    monkeypatch: pytest.MonkeyPatch, gain: float, said: bool
) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda _: gain)
    assert advice("float32") is None
    told = advice("bfloat16")
    assert (told is not None) is said
    assert not said or (told is not None and "0.05 times as fast" in told)
