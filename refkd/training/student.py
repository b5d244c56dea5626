"""A RefKD student in training: Algorithm 1 of the paper, one batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import model_validator
from torch import nn

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.distill import DistillConfig, ReflectiveLoss, Student
from refkd.distill.loss_terms import LossTerms
from refkd.errors import CheckpointError
from refkd.models import BackboneConfig, build_backbone, is_student
from refkd.models.backbone import Backbone, SpanBackbone
from refkd.training.config import TrainingConfig
from refkd.training.imported.teacher import ImportedTeacher
from refkd.training.knowledge import CachedTeachers, LiveTeachers, TeacherSource, make_knowledge
from refkd.training.teacher import AnyTeacher
from refkd.training.trainer import Trainer


class StudentConfig(Config):
    """All that decides a student, except its dataset and its teachers.

    >>> from refkd import SeqPANConfig, TrainingConfig
    >>> config = StudentConfig(backbone=SeqPANConfig(), training=TrainingConfig(epochs=30))
    >>> config.distill.lambda_id, config.total_epochs()
    (0.1, 30)
    """

    backbone: BackboneConfig
    """The network, from scratch and with weights of its own (ambiguity A27)."""
    distill: DistillConfig = DistillConfig()
    """The method's hyperparameters."""
    training: TrainingConfig = TrainingConfig()
    """Optimiser, epochs, which epoch is kept."""
    seed: int = 0
    """Of initialisation, order and dropout."""

    @model_validator(mode="after")
    def _has_span_predictor(self) -> Self:
        if not is_student(self.backbone):
            raise ValueError(
                f"backbone.name: {self.backbone.name} has no span predictor to distil into; it "
                "can be a teacher, with another backbone for the student"
            )
        return self

    def total_epochs(self) -> int:
        """Return the epochs trained: E, or W + E where the warm-up is extra (ambiguity A9)."""
        return self.distill.total_epochs(self.training.epochs)


class StudentTask:
    """Reflective distillation: a `refkd.training.trainer.Task`."""

    def __init__(
        self,
        student: Student,
        config: DistillConfig,
        teachers: TeacherSource,
        *,
        leaks: bool = False,
    ) -> None:
        self.student = student
        self.leaks = leaks
        self._loss = ReflectiveLoss(config)
        self._teachers = teachers

    @property
    def settings(self) -> dict[str, Any]:
        """The method's hyperparameters."""
        distill = self._loss.config.model_dump(mode="json")
        return {f"distill.{name}": value for name, value in distill.items()}

    @property
    def module(self) -> nn.Module:
        """Backbone and side branches are trained."""
        return self.student

    @property
    def called(self) -> nn.Module:
        """A step calls them together."""
        return self.student

    @property
    def backbone(self) -> SpanBackbone:
        """The backbone alone is kept."""
        return self.student.backbone

    def loss(self, batch: Batch, epoch: int) -> LossTerms:
        """Return equations (6) and (8) in the warm-up, (8) and (12) after it."""
        output = self.student(batch)
        auxiliary = self.student.backbone.auxiliary_loss(output.main, batch)
        return self._loss(
            output,
            batch,
            self._teachers(batch),
            auxiliary=auxiliary,
            warm=self._loss.is_warm(epoch),
        )


def build_student(config: StudentConfig, inputs: ModelInputs) -> Student:
    """Return a fresh student; equal arguments give equal weights."""
    backbone = build_backbone(config.backbone, inputs, seed=config.seed)
    assert isinstance(backbone, SpanBackbone)  # as `StudentConfig` has checked
    return Student(backbone, config.distill, seed=config.seed)


def student_trainer(
    config: StudentConfig,
    dataset: Dataset,
    teachers: Mapping[str, AnyTeacher | None],
    knowledge: Path,
    *,
    device: torch.device | str = "cpu",
    resident: bool = False,
    compiled: bool = False,
) -> Trainer:
    """Return the trainer of a student, before its first epoch.

    `teachers` maps `id` and `ood` to frozen teachers, `knowledge` is the folder their logits are
    kept in. Raises `CheckpointError` where a teacher is missing, or is imported and its network is
    asked for.

    >>> import tempfile
    >>> from refkd import (
    ...     RecipeConfig, SimulationConfig, TeacherConfig, VSLNetConfig, freeze_teacher, simulate,
    ...     teacher_trainer,
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> here = Path(folder.name)
    >>> dataset = simulate(out=here / "tiny", config=SimulationConfig(videos=40, queries=1))
    >>> small, once = VSLNetConfig(hidden=16, heads=2), TrainingConfig(epochs=1)
    >>> teachers = {}
    >>> for role, recipe in (("id", "id"), ("ood", "refkd_text")):
    ...     teacher = TeacherConfig(
    ...         backbone=small, recipe=RecipeConfig.named(recipe), training=once
    ...     )
    ...     trainer = teacher_trainer(teacher, dataset)
    ...     _ = list(trainer.epochs())
    ...     teachers[role] = freeze_teacher(trainer, teacher, dataset, here / role)
    >>> config = StudentConfig(backbone=small, training=once)
    >>> for result in student_trainer(config, dataset, teachers, here / "knowledge").epochs():
    ...     print(result.epoch, "val_ood/miou" in result.metrics)
    1 True
    >>> folder.cleanup()
    """
    found = {role: _present(teachers, role) for role in ("id", "ood")}
    student = build_student(config, dataset.model_inputs())
    if config.distill.student_init == "id_teacher":
        network = _network(found["id"], dataset, "distill.student_init: id_teacher")
        student.backbone.load_state_dict(network.state_dict())
    source = _source(config.distill, found, dataset, knowledge, device)
    leaks = any(teacher.leaks for teacher in found.values())
    task = StudentTask(student, config.distill, source, leaks=leaks)
    training = config.training.model_copy(update={"epochs": config.total_epochs()})
    return Trainer(
        task,
        dataset,
        training,
        seed=config.seed,
        device=device,
        resident=resident,
        compiled=compiled,
    )


def _present(teachers: Mapping[str, AnyTeacher | None], role: str) -> AnyTeacher:
    teacher = teachers.get(role)
    if teacher is None:
        raise CheckpointError(f"the {role} teacher is not trained yet; train the teachers first")
    return teacher


def _network(teacher: AnyTeacher, dataset: Dataset, why: str) -> Backbone:
    """Return a teacher's network; `CheckpointError` where there is none."""
    if isinstance(teacher, ImportedTeacher):
        raise CheckpointError(f"{why} needs the teacher's network, and it is {teacher.origin}")
    return teacher.backbone(dataset)


def _source(
    config: DistillConfig,
    teachers: Mapping[str, AnyTeacher],
    dataset: Dataset,
    knowledge: Path,
    device: torch.device | str,
) -> TeacherSource:
    if config.teacher_cache == "off":
        why = "distill.teacher_cache: off"
        live = {role: _network(t, dataset, why).to(device) for role, t in teachers.items()}
        return LiveTeachers(live["id"], live["ood"])
    known = {
        role: make_knowledge(t, dataset, knowledge, device=device) for role, t in teachers.items()
    }
    return CachedTeachers(known["id"], known["ood"])
