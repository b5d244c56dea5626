"""Students of one trial that differ by their seeds, trained epoch by epoch side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from refkd.training.checkpoint import CheckpointFolder
from refkd.training.trainer import EpochResult, Trainer

Metrics = dict[str, float]
COST, SPREAD = "cost/", "sd/"


class Lockstep:
    """Trainers that advance together; each keeps checkpoints of its own.

    A trainer that was killed behind or ahead of the others is waited for, so an epoch of the group
    is known when all of them have it. The group is the only writer of its folders: where another
    process has taken over, its epochs end with `SupersededError`.
    """

    def __init__(self, trainers: Sequence[Trainer], folders: Sequence[CheckpointFolder]) -> None:
        self.trainers = list(trainers)
        self._folders = list(folders)
        for trainer, folder in zip(self.trainers, self._folders, strict=True):
            folder.claim()
            checkpoint = folder.newest()
            if checkpoint is not None:
                trainer.restore(checkpoint)

    @property
    def total(self) -> int:
        """Epochs of each trainer."""
        return self.trainers[0].config.epochs

    def check_claim(self) -> None:
        """Raise `SupersededError` where another process has taken over."""
        for folder in self._folders:
            folder.check_claim()

    def epochs(self) -> Iterator[EpochResult]:
        """Yield every epoch of the group from the first, trained or known from checkpoints.

        A checkpoint is on disk before its epoch is yielded.
        """
        for epoch in range(1, self.total + 1):
            for trainer, folder in zip(self.trainers, self._folders, strict=True):
                if trainer.epoch < epoch:
                    next(trainer.epochs())
                    folder.save(trainer.checkpoint())
            yield EpochResult(
                epoch=epoch, metrics=mean([t.history[epoch - 1].metrics for t in self.trainers])
            )


def final_metrics(trainers: Sequence[Trainer]) -> Metrics:
    """Return the mean over the seeds of what each kept, its spread, and the cost of all."""
    kept = mean([t.kept_result().metrics for t in trainers])
    last = mean([t.history[-1].metrics for t in trainers])
    return {**kept, **{name: value for name, value in last.items() if name.startswith(COST)}}


def mean(results: Sequence[Metrics]) -> Metrics:
    """Return the mean of each metric, costs added up; `sd/` names hold spreads of validation.

    >>> mean([{"val_id/miou": 40.0, "cost/cpu_seconds": 1.0}])
    {'val_id/miou': 40.0, 'cost/cpu_seconds': 1.0}
    >>> mean([{"val_id/miou": 40.0}, {"val_id/miou": 42.0}])["val_id/miou"]
    41.0
    """
    merged: Metrics = {}
    for name in results[0]:
        values = [metrics[name] for metrics in results]
        merged[name] = sum(values) if name.startswith(COST) else statistics.fmean(values)
        if len(values) > 1 and name.startswith("val"):
            merged[SPREAD + name] = statistics.stdev(values)
    return merged
