"""What no code for the same network can undercut: its operations at the core's own pace."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Work, timed
from benchmarks.networks import one_epoch
from refkd.data.dataset import Dataset
from refkd.training.trainer import Trainer

SIDE, TRIES = 2048, 5
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def operations(work: Work) -> int:
    """Return the floating-point operations of some work in matrices, convolutions and LSTMs."""
    aten = torch.ops.aten
    recurrent = {
        aten.mkldnn_rnn_layer: _forward,
        aten.mkldnn_rnn_layer_backward: _backward,
    }
    with FlopCounterMode(display=False, custom_mapping=recurrent) as counter:
        work()
    return int(counter.get_total_flops())


def matmul_peak(precision: str) -> float:
    """Return the operations a second of this core in a large matrix product."""
    a, b = (torch.randn(SIDE, SIDE).to(PRECISIONS[precision]) for _ in range(2))
    return 2.0 * SIDE**3 / min(timed(lambda: a @ b) for _ in range(TRIES))


def at_peak(trainer: Trainer, dataset: Dataset, precision: str) -> tuple[int, float]:
    """Return an epoch's operations, and its seconds if all ran as a large matrix product does."""
    count = operations(partial(one_epoch, trainer, dataset))
    return count, count / matmul_peak(precision)


def _forward(x: Any, from_input: Any, from_state: Any, *_: Any, **__: Any) -> int:
    """Count an LSTM's layer from the shapes of its input (T, B, I) and its two matrices."""
    steps, pairs, _width = x
    weights = from_input[0] * from_input[1] + from_state[0] * from_state[1]
    return int(2 * steps * pairs * weights)


def _backward(x: Any, from_input: Any, from_state: Any, *_: Any, **__: Any) -> int:
    """Count the gradients of its input and of its matrices."""
    return 2 * _forward(x, from_input, from_state)
