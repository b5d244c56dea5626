"""The exponential moving average of a network's weights.

Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992; with
the shorter memory of the first steps that TensorFlow's `ExponentialMovingAverage` has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of a module's weights over its optimiser steps, beside the weights themselves.

    After n steps the decay is at most (1 + n) / (10 + n), so that the first weights are soon
    forgotten. Entries that are no real numbers are those of the last step.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self._mean = {n: tensor.detach().clone() for n, tensor in module.state_dict().items()}
        self.steps = 0
        """Optimiser steps averaged."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in self._module.state_dict().items():
            if tensor.is_floating_point():
                self._mean[name].lerp_(tensor, 1 - decay)
            else:
                self._mean[name].copy_(tensor)

    def weights(self) -> dict[str, Tensor]:
        """Return the average."""
        return self._mean

    def load(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Take up an average over so many steps."""
        self.steps = steps
        for name, tensor in self._mean.items():
            tensor.copy_(weights[name])  # stays on the device where it is

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the module have the average while the body runs."""
        own = {n: tensor.detach().clone() for n, tensor in self._module.state_dict().items()}
        self._module.load_state_dict(self._mean)
        try:
            yield
        finally:
            self._module.load_state_dict(own)
