"""Features that stay on the device: a batch gathers its rows there, and nothing is copied over."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refkd.data.pairs import Pairs
from refkd.errors import DataError


class ResidentFeatures:
    """All clips of a dataset on one device, (R + 1, V) float16; the last row is padding."""

    def __init__(self, pairs: Pairs, device: torch.device | str) -> None:
        if pairs.contents is None:
            raise DataError(f"the pairs of {pairs.role} have no features; open a prepared dataset")
        clips = pairs.contents.clips
        store = torch.zeros(len(clips) + 1, clips.shape[1], dtype=torch.float16)
        np.copyto(store[:-1].numpy(), clips)
        self._store = store.to(device)

    def __call__(self, first: NDArray[np.int64], clips: NDArray[np.int64]) -> Tensor:
        """Return (B, L, V) float32 of videos that start at rows `first`; zero past their end."""
        positions = np.arange(int(clips.max()))[None, :]
        rows = np.where(positions < clips[:, None], first[:, None] + positions, -1)
        return self._store[torch.from_numpy(rows).to(self._store.device)].float()
