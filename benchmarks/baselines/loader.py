"""Batches from PyTorch's DataLoader over a file a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Videos(Dataset[tuple[Tensor, int]]):
    """The video of each pair, read from its own file."""

    def __init__(self, folder: Path, videos: list[str]) -> None:
        self._paths = [folder / f"{video}.npy" for video in videos]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        rows = torch.from_numpy(np.load(self._paths[index])).float()
        return rows, len(rows)


def padded(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Return features (B, L, V) and clips (B,)."""
    videos, clips = zip(*items, strict=True)
    return pad_sequence(list(videos), batch_first=True), torch.tensor(clips)


def loader(folder: Path, videos: list[str]) -> DataLoader[tuple[Tensor, int]]:
    """Return shuffled batches of 32."""
    return DataLoader(Videos(folder, videos), batch_size=32, shuffle=True, collate_fn=padded)
