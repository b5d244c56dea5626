"""A distilled student trained as the published codes train: all live, features in a dictionary."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from refkd.data.batch import Batch
from refkd.data.batches import training_batches
from refkd.data.dataset import Dataset
from refkd.training.student import StudentTask


class Loop:
    """An epoch in float32 with stock AdamW, batches padded to their longest video."""

    def __init__(self, task: StudentTask, dataset: Dataset) -> None:
        self._task, self._pairs = task, dataset.role("fit")
        self._features = _features(dataset)
        self._optimizer = torch.optim.AdamW(task.module.parameters(), lr=1e-3, weight_decay=0.0)

    def epoch(self) -> None:
        """Take every step of an epoch."""
        self._task.module.train()
        for rows in training_batches(self._pairs, batch_size=32, seed=0, epoch=0):
            videos = [self._features[self._pairs.video_ids[row]] for row in rows]
            batch: Batch = self._pairs.batch(rows)
            batch = replace(batch, features=pad_sequence(videos, batch_first=True))
            loss = self._task.loss(batch, 0).total
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._task.module.parameters(), 1.0)
            self._optimizer.step()


def _features(dataset: Dataset) -> dict[str, Tensor]:
    """Read all features into memory, a tensor a video."""
    pairs, found = dataset.role("fit"), dict[str, Tensor]()
    for row, video in enumerate(pairs.video_ids):
        if video not in found:
            found[video] = pairs.batch([row]).features[0]
    return found
