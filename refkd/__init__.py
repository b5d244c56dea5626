"""refkd: Reflective Knowledge Distillation for video moment retrieval.

The method alone, usable in a notebook: data in, trained retriever out. The search over its
hyperparameters is the package `tune`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset
    from refkd.data.prepare import prepare
    from refkd.data.simulate import SimulationConfig, simulate
    from refkd.distill import DistillConfig, ReflectiveLoss, Student
    from refkd.errors import RefKDError
    from refkd.models import (
        EMBConfig,
        MRTNetConfig,
        QAVEConfig,
        SeqPANConfig,
        Tan2DConfig,
        VSLNetConfig,
        build_backbone,
    )
    from refkd.recipes import RecipeConfig
    from refkd.retriever import Retriever, Span
    from refkd.training.config import TrainingConfig
    from refkd.training.student import StudentConfig, student_trainer
    from refkd.training.teacher import TeacherConfig, freeze_teacher, teacher_trainer

__version__ = "0.1.0"

_HOME = {
    "Dataset": "refkd.data.dataset",
    "DistillConfig": "refkd.distill",
    "EMBConfig": "refkd.models",
    "MRTNetConfig": "refkd.models",
    "QAVEConfig": "refkd.models",
    "SeqPANConfig": "refkd.models",
    "Tan2DConfig": "refkd.models",
    "RecipeConfig": "refkd.recipes",
    "RefKDError": "refkd.errors",
    "ReflectiveLoss": "refkd.distill",
    "Retriever": "refkd.retriever",
    "SimulationConfig": "refkd.data.simulate",
    "Span": "refkd.retriever",
    "Student": "refkd.distill",
    "StudentConfig": "refkd.training.student",
    "TeacherConfig": "refkd.training.teacher",
    "TrainingConfig": "refkd.training.config",
    "VSLNetConfig": "refkd.models",
    "build_backbone": "refkd.models",
    "freeze_teacher": "refkd.training.teacher",
    "prepare": "refkd.data.prepare",
    "simulate": "refkd.data.simulate",
    "student_trainer": "refkd.training.student",
    "teacher_trainer": "refkd.training.teacher",
}

__all__ = [
    "Dataset",
    "DistillConfig",
    "EMBConfig",
    "MRTNetConfig",
    "QAVEConfig",
    "RecipeConfig",
    "RefKDError",
    "ReflectiveLoss",
    "Retriever",
    "SeqPANConfig",
    "SimulationConfig",
    "Span",
    "Student",
    "StudentConfig",
    "Tan2DConfig",
    "TeacherConfig",
    "TrainingConfig",
    "VSLNetConfig",
    "build_backbone",
    "freeze_teacher",
    "prepare",
    "simulate",
    "student_trainer",
    "teacher_trainer",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import refkd` stays quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'refkd' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
