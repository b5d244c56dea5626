"""Students and teachers at the size of the paper's, on simulated videos of published lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from benchmarks.lengths import write_annotations
from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.models import BackboneConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.recipes.config import RecipeConfig
from refkd.seeds import derive_seed
from refkd.training.config import TrainingConfig
from refkd.training.knowledge import Knowledge, TeacherSource, teacher_logits
from refkd.training.student import StudentConfig, StudentTask, build_student
from refkd.training.teacher import TeacherTask
from refkd.training.trainer import Trainer
from refkd.training.validated import Validated


def make_dataset(folder: Path, *, smoke: bool, lengths: str = "Charades") -> Dataset:
    """Return videos and queries of published lengths, at most 128 clips, of I3D's width."""
    wide = {} if smoke else {"feature_dim": 1024, "word_dim": 300}
    config = SimulationConfig.model_validate({"min_clips": 4, "max_clips": 128, **wide})
    pairs = 60 if smoke else 560
    annotations = write_annotations(folder / "annotations", lengths, pairs=pairs)
    return simulate(out=folder / "dataset", config=config, annotations=annotations)


def backbone_config(*, smoke: bool, **settings: object) -> BackboneConfig:
    """Return a backbone of the paper's size, or a tiny one."""
    small = {"hidden": 16, "heads": 2, "char_dim": 4} if smoke else {}
    config: BackboneConfig = TypeAdapter(BackboneConfig).validate_python({**settings, **small})
    return config


def make_teachers(config: BackboneConfig, dataset: Dataset) -> list[Backbone]:
    """Return two networks that stand for trained ones: their weights change no time."""
    return [build_backbone(config, dataset.model_inputs(), seed=seed) for seed in (1, 2)]


def make_knowledge(teachers: list[Backbone], dataset: Dataset, folder: Path) -> list[Knowledge]:
    """Return what both know of the fit pairs, mapped from disk."""
    found = []
    for number, teacher in enumerate(teachers):
        path = folder / f"{number}-{derive_seed(number)}.npy"
        np.save(path, teacher_logits(teacher, dataset.role("fit")), allow_pickle=False)
        found.append(Knowledge(path=path, logits=np.load(path, mmap_mode="r")))
    return found


def student_trainer(
    config: BackboneConfig, dataset: Dataset, source: TeacherSource, *, precision: str = "float32"
) -> Trainer:
    """Return a RefKD student's trainer past its warm-up, without validation."""
    torch.set_num_threads(1)
    student = StudentConfig(
        backbone=config,
        distill=DistillConfig(warmup_epochs=0),
        training=TrainingConfig.model_validate({"epochs": 100, "precision": precision}),
    )
    task = StudentTask(build_student(student, dataset.model_inputs()), student.distill, source)
    return Trainer(task, dataset, student.training, seed=0, validation=lambda _: Validated())


def supervised_trainer(config: BackboneConfig, dataset: Dataset) -> Trainer:
    """Return a trainer of the backbone alone, without validation."""
    torch.set_num_threads(1)
    network = build_backbone(config, dataset.model_inputs(), seed=0)
    task = TeacherTask(network, RecipeConfig(), seed=0)
    training = TrainingConfig(epochs=100)
    return Trainer(task, dataset, training, seed=0, validation=lambda _: Validated())


def one_epoch(trainer: Trainer, dataset: Dataset) -> None:
    """Take every step of an epoch."""
    pairs = dataset.role("fit")
    trainer.task.module.train()
    for rows in trainer.batches(0):
        trainer.step(pairs.batch(rows), 0)
