"""One epoch loop for every role: teachers and students differ in their task alone."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refkd.data.batch import Batch
from refkd.data.batches import training_batches
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.resident import ResidentFeatures
from refkd.distill.loss_terms import LossTerms
from refkd.errors import CheckpointError, TrainingError
from refkd.models.backbone import Backbone
from refkd.seeds import derive_seed
from refkd.training.average import Average
from refkd.training.checkpoint import Checkpoint
from refkd.training.config import LATER, TrainingConfig
from refkd.training.optimizer import load_optimizer, make_optimizer, optimizer_tensors
from refkd.training.validated import ByRole, Validated, stacked, unstacked
from refkd.training.validation import selection_value, validate

Metrics = dict[str, float]


class Task(Protocol):
    """What one role of training minimises, and which of its parts is kept."""

    @property
    def leaks(self) -> bool:
        """Whether it learns of pairs that models are judged by, even through a teacher."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its loss: a run goes on from checkpoints of the same settings alone."""
        ...

    @property
    def module(self) -> nn.Module:
        """All that is trained."""
        ...

    @property
    def called(self) -> nn.Module:
        """What a step calls: this is compiled where compilation is asked for."""
        ...

    @property
    def backbone(self) -> Backbone:
        """What is kept and validated."""
        ...

    def loss(self, batch: Batch, epoch: int) -> LossTerms:
        """Return the loss of a batch in an epoch counted from 0."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """What is known after an epoch; `epoch` counts finished epochs, from 1."""

    epoch: int
    metrics: Metrics
    tiou: ByRole = field(default_factory=dict)
    """Of each validation pair, (N,) by role; none where an earlier refkd trained the epoch."""


class Trainer:
    """Trains a task on a role's pairs, `fit` unless given, and validates it after each epoch.

    All randomness is a function of (seed, epoch, pair), so a state saved after an epoch continues
    bit for bit on the same hardware, whatever ran in between.
    """

    def __init__(
        self,
        task: Task,
        dataset: Dataset,
        config: TrainingConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        resident: bool = False,
        compiled: bool = False,
        validation: Callable[[Backbone], Validated] | None = None,
        pairs: Pairs | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.history: list[EpochResult] = []
        self._seed = seed
        self._device = torch.device(device)
        self._pairs = dataset.role("fit") if pairs is None else pairs
        self._validation = validation or (
            lambda backbone: validate(backbone, dataset, device=self._device)
        )
        task.module.to(self._device)
        self._features = ResidentFeatures(self._pairs, self._device) if resident else None
        if compiled:
            task.called.compile(dynamic=True)
        self._optimizer = make_optimizer(task.module, config)
        self._average = Average(task.backbone, config.ema) if config.ema else None
        self._best: dict[str, Tensor] | None = None

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.history[-1].epoch if self.history else 0

    def epochs(self) -> Iterator[EpochResult]:
        """Train the epochs that are left, yielding after each; raise `TrainingError` on NaN."""
        while self.epoch < self.config.epochs:
            yield self._one_epoch(self.epoch)

    def kept_weights(self) -> dict[str, Tensor]:
        """Return the backbone's weights of the epoch that `config.select` chose."""
        if self.config.select == "best" and self._best is not None:
            return self._best
        return self._weights_now()

    def _weights_now(self) -> dict[str, Tensor]:
        """Return a copy of the weights that are validated and may be kept."""
        if self._average is None:
            weights = self.task.backbone.state_dict()
        else:
            weights = self._average.weights()
        return {name: tensor.detach().clone() for name, tensor in weights.items()}

    def kept_result(self) -> EpochResult:
        """Return the epoch that `kept_weights` belongs to."""
        if self.config.select == "last":
            return self.history[-1]
        return max(self.history, key=self._selection)

    def tiou(self) -> ByRole:
        """Return what every epoch found of each validation pair, (E, N) by role."""
        return stacked([result.tiou for result in self.history])

    def checkpoint(self) -> Checkpoint:
        """Return the whole state; `restore` continues from it bit for bit."""
        tensors = {f"module/{k}": v for k, v in self.task.module.state_dict().items()}
        tensors |= optimizer_tensors(self._optimizer, self.task.module)
        if self._average is not None:
            tensors |= {f"average/{k}": v for k, v in self._average.weights().items()}
        tensors |= {f"best/{k}": v for k, v in (self._best or {}).items()}
        tensors |= {f"tiou/{k}": torch.from_numpy(v) for k, v in self.tiou().items()}
        facts: dict[str, Any] = {
            "seed": self._seed,
            "config": self.config.model_dump(mode="json"),
            "task": self.task.settings,
            "averaged": 0 if self._average is None else self._average.steps,
            "history": [{"epoch": r.epoch, "metrics": r.metrics} for r in self.history],
        }
        return Checkpoint(epoch=self.epoch, tensors=tensors, facts=facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a state; `CheckpointError` where it belongs to another run."""
        self._check_same_run(checkpoint)
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor.to(self._device)
        try:
            self.task.module.load_state_dict(parts["module"])
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint after epoch {checkpoint.epoch} is of another network ({error}); "
                "use another folder"
            ) from error
        load_optimizer(self._optimizer, self.task.module, parts["optimizer"])
        if self._average is not None:
            self._average.load(parts["average"], checkpoint.facts["averaged"])
        self._best = parts["best"] or None
        tiou = {role: tensor.cpu().numpy() for role, tensor in parts["tiou"].items()}
        self.history = [
            EpochResult(
                epoch=r["epoch"], metrics=dict(r["metrics"]), tiou=unstacked(tiou, r["epoch"])
            )
            for r in checkpoint.facts["history"]
        ]

    def _check_same_run(self, checkpoint: Checkpoint) -> None:
        config = self.config.model_dump(mode="json")
        mine = {"seed": self._seed, **config, **self.task.settings}
        facts = checkpoint.facts
        theirs = {"seed": facts["seed"], **LATER, **facts["config"], **facts.get("task", {})}
        for key in sorted(mine):
            # More epochs than before is how a finished run grows.
            if key != "epochs" and mine[key] != theirs.get(key):
                raise CheckpointError(
                    f"the checkpoint after epoch {checkpoint.epoch} was trained with "
                    f"{key}={theirs.get(key)!r}, not {mine[key]!r}; use another folder"
                )

    def _one_epoch(self, epoch: int) -> EpochResult:
        cpu, wall = time.process_time(), time.perf_counter()
        metrics = self._train(epoch)
        with nullcontext() if self._average is None else self._average.applied():
            found = self._validation(self.task.backbone)
        metrics |= found.metrics
        last = self.history[-1].metrics if self.history else {}
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        metrics["cost/cpu_seconds"] = last.get("cost/cpu_seconds", 0.0) + cpu
        metrics["cost/wall_seconds"] = last.get("cost/wall_seconds", 0.0) + wall
        metrics["cost/epoch_seconds"] = metrics["cost/wall_seconds"] / (epoch + 1)
        metrics["model/parameters"] = float(parameters(self.task.backbone))
        result = EpochResult(epoch=epoch + 1, metrics=metrics, tiou=found.tiou)
        if self.config.select == "best" and self._improves(result):
            self._best = self._weights_now()
        self.history.append(result)
        return result

    def _train(self, epoch: int) -> Metrics:
        self.task.module.train()
        self.task.backbone.begin_epoch(epoch, self.config.epochs)
        sums: dict[str, Tensor] = {}
        pairs = self._pairs.drawn(seed=self._seed, epoch=epoch)
        soft = self.config.windows == "soft"
        batches = list(self.batches(epoch))
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(self._seed, "dropout", epoch))
            for number, rows in enumerate(batches):
                self._set_rate((epoch + number / len(batches)) / self.config.epochs)
                batch = pairs.batch(rows, features=self._features, soft=soft).to(self._device)
                terms = self.step(batch, epoch)
                parts = {"loss": terms.total.detach(), **terms.parts}
                for name, value in parts.items():
                    sums[name] = sums.get(name, torch.zeros_like(value)) + value * len(batch)
        return {f"train/{name}": float(value) / len(self._pairs) for name, value in sums.items()}

    def batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of each batch of an epoch, counted from 0."""
        return training_batches(
            self._pairs,
            batch_size=self.config.batch_size,
            seed=self._seed,
            epoch=epoch,
            pool=self.config.pool,
        )

    def step(self, batch: Batch, epoch: int) -> LossTerms:
        """Take one optimiser step; `TrainingError` where the loss is not finite."""
        half = self.config.precision == "bfloat16"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half):
            terms = self.task.loss(batch, epoch)
        value = float(terms.total.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in epoch {epoch + 1}; a lower learning rate, a smaller "
                f"clip_norm or float32 precision may help"
            )
        self._optimizer.zero_grad(set_to_none=True)
        terms.total.backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.task.module.parameters(), self.config.clip_norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return terms

    def _set_rate(self, progress: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1.0 - progress)

    def _selection(self, result: EpochResult) -> float:
        return selection_value(result.metrics, self.config.select_by)

    def _improves(self, result: EpochResult) -> bool:
        before = max((self._selection(r) for r in self.history), default=-math.inf)
        return self._selection(result) > before


def parameters(backbone: nn.Module) -> int:
    """Return how many numbers of a network are learned; word vectors come with the dataset."""
    return sum(one.numel() for one in backbone.parameters())
