"""What a run was made of, as MLflow is told it: its dataset, the knowledge, both teachers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from refkd.data.dataset import Dataset
from refkd.training.knowledge import knowledge_address
from refkd.training.teacher import Teacher
from tune.tracking.operations import Input

LONGEST_DIGEST = 36
"""Characters that MLflow keeps of a dataset's digest."""


def dataset_input(dataset: Dataset) -> Input:
    """Return the prepared dataset, known by its fingerprint."""
    manifest = dataset.manifest
    counts = {role: count.pairs for role, count in manifest.roles.items()}
    return {
        "name": dataset.name,
        "digest": dataset.fingerprint[:LONGEST_DIGEST],
        "source": str(dataset.path.absolute()),
        "profile": json.dumps({"fingerprint": dataset.fingerprint, "pairs": counts}),
        "context": "training and validation",
    }


class Lineage:
    """What the students of a launch are distilled from."""

    def __init__(self, dataset: Dataset, teachers: Mapping[str, Teacher], folder: str) -> None:
        """`folder` holds all knowledge."""
        self._dataset = dataset
        self._teachers = teachers
        self._folder = folder
        self._addresses = {r: knowledge_address(t, dataset) for r, t in teachers.items()}

    def tags(self) -> dict[str, str]:
        """Return what a student is found by, from either teacher or its knowledge."""
        teachers = {f"refkd.teacher_{role}": t.digest for role, t in self._teachers.items()}
        return teachers | {f"refkd.knowledge_{r}": a for r, a in self._addresses.items()}

    def inputs(self) -> dict[str, Any]:
        """Return the datasets and models that go into a student."""
        knowledge = [self._knowledge(role) for role in self._teachers]
        return {
            "datasets": [dataset_input(self._dataset), *knowledge],
            "models": [teacher.digest for teacher in self._teachers.values()],
        }

    def _knowledge(self, role: str) -> Input:
        address = self._addresses[role]
        made_of = {
            "teacher": self._teachers[role].digest,
            "dataset": self._dataset.fingerprint,
        }
        return {
            "name": f"knowledge-{role}",
            "digest": address,
            "source": f"{self._folder}/{address}.npy",
            "profile": json.dumps(made_of),
            "context": f"logits of teacher-{role}",
        }


def ancestry(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those of a student's tags that name its teachers and their knowledge."""
    return {k: v for k, v in tags.items() if k.startswith(("refkd.teacher_", "refkd.knowledge_"))}
