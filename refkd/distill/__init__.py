"""Reflective distillation: introspect (1-6), extrospect (7-10, 12), rectify (11, 13, 14)."""

from __future__ import annotations

from refkd.distill.config import DistillConfig, IntrospectionConfig, PureGTConfig, WindowConfig
from refkd.distill.loss_terms import LossTerms
from refkd.distill.objective import ReflectiveLoss, TeacherLogits
from refkd.distill.student import SideBranch, Student, StudentOutput

__all__ = [
    "DistillConfig",
    "IntrospectionConfig",
    "LossTerms",
    "PureGTConfig",
    "ReflectiveLoss",
    "SideBranch",
    "Student",
    "StudentOutput",
    "TeacherLogits",
    "WindowConfig",
]
