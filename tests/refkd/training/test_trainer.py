"""The epoch loop: learning rate, clipping, decay, which epoch is kept, and when it must stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.errors import TrainingError
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.optimizer import make_optimizer
from refkd.training.teacher import TeacherTask
from refkd.training.trainer import Trainer
from refkd.training.validated import Validated


def make_trainer(
    dataset: Dataset, network: VSLNetConfig, *, values: list[float] | None = None, **training: Any
) -> Trainer:
    """Return a teacher's trainer; `values` are what validation says, epoch by epoch."""
    backbone = build_backbone(network, dataset.model_inputs(), seed=0)
    said: Iterator[float] = iter(values or [50.0] * 99)

    def validation(_: Backbone) -> Validated:
        value = next(said)
        return Validated(metrics={"val_id/miou": value, "val_ood/miou": 100.0 - value})

    return Trainer(
        TeacherTask(backbone, RecipeConfig(), seed=0),
        dataset,
        TrainingConfig.model_validate({"batch_size": 32, **training}),
        seed=0,
        validation=validation,
    )


def finish(trainer: Trainer) -> Trainer:
    for _ in trainer.epochs():
        pass
    return trainer


def test_the_learning_rate_falls_linearly_over_all_steps(
    tiny_dataset: Dataset, network: VSLNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_dataset, network, epochs=4, learning_rate=0.01)
    rates: list[set[float]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        rates.append({group["lr"] for group in self.param_groups})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    finish(trainer)
    steps = 4 * 3  # 90 pairs are 3 batches
    assert [rate for (rate,) in rates] == pytest.approx(
        [0.01 * (1 - step / steps) for step in range(steps)]
    )


@pytest.mark.parametrize("clip", [None, 0.01, 1e6])
def test_gradients_are_clipped_to_the_norm(
    clip: float | None, tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    """The first moment after one step is 0.1 of the gradient, so it shows its norm."""
    trainer = make_trainer(tiny_dataset, network, epochs=1, batch_size=128, clip_norm=clip)
    finish(trainer)
    tensors = trainer.checkpoint().tensors
    moments = [v for name, v in tensors.items() if name.startswith("optimizer/exp_avg/")]
    norm = 10 * torch.stack([moment.norm() for moment in moments]).norm().item()
    if clip == 0.01:
        assert norm == pytest.approx(0.01, rel=1e-3)
    else:
        assert norm > 1.0  # far from either bound: clipping had nothing to do


@pytest.mark.parametrize("predictor", ["rnn", "transformer"])
def test_weight_decay_spares_biases_and_norms_alone(
    predictor: str, tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    """Without gradient a step multiplies what decays by 1 - lr · decay and leaves the rest."""
    config = network.model_copy(update={"predictor": predictor})
    module = build_backbone(config, tiny_dataset.model_inputs(), seed=0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    training = TrainingConfig(learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(module, training)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    norms = [n for n, part in module.named_modules() if isinstance(part, nn.LayerNorm)]
    assert norms
    for name, parameter in module.named_parameters():
        owner, _, kind = name.rpartition(".")
        spared = owner in norms or kind.startswith("bias")
        assert parameter.flatten()[0].item() == pytest.approx(1.0 if spared else 0.95), name
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(module.parameters())
    )


def weights_after(dataset: Dataset, network: VSLNetConfig, epoch: int) -> dict[str, Tensor]:
    trainer = make_trainer(dataset, network, epochs=4)
    for result in trainer.epochs():
        if result.epoch == epoch:
            break
    return {n: v.clone() for n, v in trainer.task.backbone.state_dict().items()}


@pytest.mark.parametrize(
    ("select", "select_by", "values", "kept"),
    [
        ("last", "harmonic", [50, 40, 30, 20], 4),
        ("best", "harmonic", [20, 45, 30, 10], 2),
        ("best", "harmonic", [80, 45, 50, 50], 3),  # the first of equals
        ("best", "val_id/miou", [20, 45, 60, 10], 3),
        ("best", "val_ood/miou", [20, 45, 60, 10], 4),
        ("best", "val_id/miou", [90, 45, 60, 10], 1),
    ],
)
def test_the_chosen_epochs_weights_are_kept(
    select: str,
    select_by: str,
    values: list[float],
    kept: int,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
) -> None:
    trainer = finish(
        make_trainer(
            tiny_dataset, network, values=values, epochs=4, select=select, select_by=select_by
        )
    )
    assert trainer.kept_result().epoch == kept
    assert trainer.kept_result().metrics["val_id/miou"] == values[kept - 1]
    found, expected = trainer.kept_weights(), weights_after(tiny_dataset, network, kept)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_pair_is_seen_once_an_epoch_in_another_order(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = make_trainer(tiny_dataset, network, epochs=2)
    seen: list[list[int]] = [[], []]
    loss = trainer.task.loss

    def watched(batch: Batch, epoch: int) -> Any:
        seen[epoch] += batch.pairs.tolist()
        return loss(batch, epoch)

    trainer.task.loss = watched  # type: ignore[method-assign]
    finish(trainer)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(90))
    assert seen[0] != seen[1]


def test_the_logged_loss_is_the_mean_over_pairs(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    """The last of 90 pairs in batches of 64 is smaller, so a mean over batches would differ."""
    trainer = make_trainer(tiny_dataset, network, epochs=1, batch_size=64)
    losses: list[tuple[float, int]] = []
    loss = trainer.task.loss

    def watched(batch: Batch, epoch: int) -> Any:
        terms = loss(batch, epoch)
        losses.append((terms.total.item(), len(batch)))
        return terms

    trainer.task.loss = watched  # type: ignore[method-assign]
    metrics = finish(trainer).history[0].metrics
    assert sorted(count for _, count in losses) == [26, 64]
    expected = sum(value * count for value, count in losses) / 90
    assert metrics["train/loss"] == pytest.approx(expected)
    assert metrics["train/span"] + metrics["train/aux"] == pytest.approx(metrics["train/loss"])


def test_a_loss_that_is_not_finite_stops_with_its_reason(
    tiny_dataset: Dataset, network: VSLNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_dataset, network, epochs=3)
    whole = Pairs.batch

    def broken(self: Pairs, indices: Any, **where: Any) -> Batch:
        batch = whole(self, indices, **where)
        if trainer.epoch == 1:
            batch.features[0, 0, 0] = torch.inf
        return batch

    monkeypatch.setattr(Pairs, "batch", broken)
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 2; a lower learning rate"):
        finish(trainer)
    assert trainer.epoch == 1


def test_a_learning_rate_far_too_high_stops_with_its_reason(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = make_trainer(tiny_dataset, network, epochs=20, learning_rate=1e12)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d+"):
        finish(trainer)


def test_half_precision_trains_close_to_single(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    losses = {
        precision: finish(
            make_trainer(tiny_dataset, network, epochs=2, precision=precision, learning_rate=3e-3)
        )
        .history[-1]
        .metrics["train/loss"]
        for precision in ("float32", "bfloat16")
    }
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


def test_training_leaves_the_global_random_state_alone(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    finish(make_trainer(tiny_dataset, network, epochs=1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
