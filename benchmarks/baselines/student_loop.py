"""A distilled student trained as the published codes train: all live, features in a dictionary."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from benchmarks.baselines.stock import with_stock_layers
from refkd.data.batch import Batch
from refkd.data.batches import training_batches
from refkd.data.dataset import Dataset
from refkd.training.student import StudentTask


class Loop:
    """Epochs in float32 with stock layers and AdamW; shuffled batches, padded to their longest."""

    def __init__(
        self,
        task: StudentTask,
        dataset: Dataset,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        with_stock_layers(task.module)
        self._task, self._pairs = task, dataset.role("fit")
        self._epochs, self._batch_size, self._seed = epochs, batch_size, seed
        self._items = _items(dataset)
        self._optimizer = torch.optim.AdamW(task.module.parameters(), lr=1e-3, weight_decay=0.0)
        steps = epochs * math.ceil(len(self._pairs) / batch_size)
        self._schedule = torch.optim.lr_scheduler.LinearLR(
            self._optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps
        )

    def epoch(self, epoch: int = 0) -> None:
        """Take every step of an epoch."""
        self._task.module.train()
        for rows in training_batches(
            self._pairs, batch_size=self._batch_size, seed=self._seed, epoch=epoch
        ):
            loss = self._task.loss(_collate([self._items[row] for row in rows]), epoch).total
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._task.module.parameters(), 1.0)
            self._optimizer.step()
            self._schedule.step()

    def epochs(self) -> None:
        """Train all epochs."""
        torch.manual_seed(self._seed)
        for epoch in range(self._epochs):
            self.epoch(epoch)


def _items(dataset: Dataset) -> list[Batch]:
    """Read all pairs into memory, the features of a video once."""
    pairs, videos, found = dataset.role("fit"), dict[str, Tensor](), list[Batch]()
    for row, video in enumerate(pairs.video_ids):
        item = pairs.batch([row])
        found.append(replace(item, features=videos.setdefault(video, item.features)))
    return found


def _collate(items: list[Batch]) -> Batch:
    """Return a batch of single pairs, padded to the longest of them."""

    def together(name: str) -> Tensor:
        parts: list[Tensor] = [getattr(item, name)[0] for item in items]
        return pad_sequence(parts, batch_first=True) if parts[0].ndim else torch.stack(parts)

    # Queries are words and have one window each here, which needs neither `text` nor `mass`.
    names = [f.name for f in fields(Batch) if f.name not in ("mass", "text")]
    return Batch(**{name: together(name) for name in names})
