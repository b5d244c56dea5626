"""A student in training: its teachers, its warm-up, and what it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.distill import DistillConfig, Student
from refkd.errors import CheckpointError
from refkd.models import VSLNetConfig, build_backbone
from refkd.training.config import TrainingConfig
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import Teacher
from refkd.training.trainer import Trainer

EPOCHS = 3


def make_config(
    network: VSLNetConfig, *, training: TrainingConfig, **distill: Any
) -> StudentConfig:
    return StudentConfig(
        backbone=network, distill=DistillConfig.model_validate(distill), training=training, seed=2
    )


def finish(trainer: Trainer) -> Trainer:
    for _ in trainer.epochs():
        pass
    return trainer


@pytest.fixture(scope="module")
def training() -> TrainingConfig:
    return TrainingConfig(epochs=EPOCHS, batch_size=32, learning_rate=3e-3)


def test_18_cached_and_live_teachers_train_the_same_weights(
    tiny_dataset: Dataset, network: VSLNetConfig, teachers: dict[str, Teacher], tmp_path: Path
) -> None:
    weights = []
    for cache in ("on", "off"):
        training = TrainingConfig(epochs=1, batch_size=32, learning_rate=1e-3)
        config = make_config(network, training=training, warmup_epochs=0, teacher_cache=cache)
        weights.append(finish(student_trainer(config, tiny_dataset, teachers, tmp_path)))
    ours, theirs = (trainer.kept_weights() for trainer in weights)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-4, rtol=0, msg=name)


def test_teachers_get_no_gradient_and_do_not_change(
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    config = make_config(network, training=training, warmup_epochs=1, teacher_cache="off")
    trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
    taught = trainer.task._teachers  # type: ignore[attr-defined]
    frozen = {"id": taught._id, "ood": taught._ood}
    finish(trainer)
    for role, backbone in frozen.items():
        assert not backbone.training
        assert not any(parameter.requires_grad for parameter in backbone.parameters())
        assert all(parameter.grad is None for parameter in backbone.parameters())
        before = teachers[role].backbone(tiny_dataset).state_dict()
        assert all(torch.equal(value, before[n]) for n, value in backbone.state_dict().items())


@pytest.mark.parametrize("warmup", [0, 1, 2, EPOCHS, EPOCHS + 5])
def test_19_the_warm_up_ends_at_its_epoch(
    warmup: int,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    """Affinity and confidence are used, and so logged, in reflective epochs alone."""
    config = make_config(network, training=training, warmup_epochs=warmup)
    trainer = finish(student_trainer(config, tiny_dataset, teachers, tmp_path))
    reflective = ["train/rho_id" in result.metrics for result in trainer.history]
    assert reflective == [epoch >= warmup for epoch in range(EPOCHS)]
    for result in trainer.history:
        assert "train/w_id_start" in result.metrics


@pytest.mark.parametrize(("extra", "total"), [(False, EPOCHS), (True, EPOCHS + 2)])
def test_extra_warm_up_comes_on_top_of_the_epochs(
    extra: bool,
    total: int,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    config = make_config(network, training=training, warmup_epochs=2, warmup_extra=extra)
    trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
    assert config.total_epochs() == trainer.config.epochs == total
    reflective = ["train/pi_ood" in r.metrics for r in finish(trainer).history]
    assert reflective == [False, False] + [True] * (total - 2)


def test_a_student_starts_fresh_or_from_the_id_teacher(
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    teacher = teachers["id"].backbone(tiny_dataset).state_dict()
    fresh = build_backbone(network, tiny_dataset.model_inputs(), seed=2).state_dict()
    for start, expected in (("id_teacher", teacher), ("scratch", fresh)):
        config = make_config(network, training=training, student_init=start)
        trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
        found = trainer.task.backbone.state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert all(parameter.requires_grad for parameter in trainer.task.module.parameters())
    assert not torch.equal(teacher["video.weight"], fresh["video.weight"])


def test_branches_differ_from_each_other_and_the_backbone_does_not_depend_on_them(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    backbone = build_backbone(network, tiny_dataset.model_inputs(), seed=2)
    student = Student(backbone, DistillConfig(), seed=2)
    assert not torch.equal(student.side_id.linear.weight, student.side_ood.linear.weight)
    shared = Student(backbone, DistillConfig(side_predictor="shared"), seed=2)
    names = {name for name, _ in shared.named_parameters() if name.startswith("side_")}
    assert names == {f"side_{k}.linear.{p}" for k in ("id", "ood") for p in ("weight", "bias")}


@pytest.mark.parametrize("missing", ["id", "ood"])
def test_a_missing_teacher_is_named(
    missing: str,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    some = {**teachers, missing: None}
    with pytest.raises(CheckpointError, match=f"the {missing} teacher is not trained yet"):
        student_trainer(make_config(network, training=training), tiny_dataset, some, tmp_path)


def test_a_student_goes_on_under_the_same_method_alone(
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    training: TrainingConfig,
) -> None:
    begun = student_trainer(
        make_config(network, training=training, lambda_id=0.1), tiny_dataset, teachers, tmp_path
    )
    next(begun.epochs())
    other = student_trainer(
        make_config(network, training=training, lambda_id=0.2), tiny_dataset, teachers, tmp_path
    )
    with pytest.raises(CheckpointError, match=r"distill\.lambda_id=0\.1, not 0\.2"):
        other.restore(begun.checkpoint())
