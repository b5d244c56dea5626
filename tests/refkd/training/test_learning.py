"""What each backbone can learn from a simulated dataset, and what it cannot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import Interval, paired_bootstrap
from refkd.evaluation.metrics import Scores
from refkd.models import (
    NETWORKS,
    BackboneConfig,
    EMBConfig,
    MRTNetConfig,
    QAVEConfig,
    SeqPANConfig,
    Tan2DConfig,
    VSLNetConfig,
    is_student,
)
from refkd.models.backbone import Backbone
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import Teacher, TeacherConfig, freeze_teacher, teacher_trainer
from refkd.training.trainer import Trainer
from refkd.training.validation import evaluate_role

ROLES = ("val_id", "val_ood", "test_ood")
SMALL = {"hidden": 32, "heads": 4, "char_dim": 4}
CONFIGS: dict[str, BackboneConfig] = {
    "vslnet": VSLNetConfig(**SMALL),
    "seqpan": SeqPANConfig(**SMALL),
    "mrtnet": MRTNetConfig(**SMALL),
    "emb": EMBConfig(hidden=32, heads=4, block=4),
    "qave": QAVEConfig(hidden=16, span_hidden=16, dropout=0.2),
    "tan2d": Tan2DConfig(
        hidden=32,
        map_clips=8,
        segments=32,
        convolutions=2,
        kernel=3,
        text_layers=1,
        iou_min=0.3,
        iou_max=0.7,
    ),
}
TRAINING = TrainingConfig(epochs=8, learning_rate=3e-3)
OWN = {"tan2d": TrainingConfig(epochs=12, learning_rate=2e-2)}
"""What networks need that do not learn with `TRAINING`."""


def cases(*names: str) -> list[object]:
    """Return networks to try: one in `make test`, the others in `make test-system`."""
    return [pytest.param(n, marks=[] if n == "vslnet" else pytest.mark.system) for n in names]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a dataset whose features depend on nothing."""
    return simulated(tmp_path_factory.mktemp("noise"), signal=0.0)


@pytest.fixture(scope="module")
def signal(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a dataset that shows plainly what its queries say."""
    return simulated(tmp_path_factory.mktemp("signal"), signal=3.0)


@pytest.fixture(scope="module")
def teacher(signal: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """Return a VSLNet that has learnt the signal."""
    config = teacher_config(CONFIGS["vslnet"])
    trainer = finished(teacher_trainer(config, signal))
    return freeze_teacher(trainer, config, signal, tmp_path_factory.mktemp("teacher"))


def simulated(folder: Path, *, signal: float) -> Dataset:
    config = SimulationConfig(
        videos=300, queries=2, min_clips=10, max_clips=20, signal=signal, distractors=0
    )
    return simulate(out=folder / "dataset", config=config)


def teacher_config(backbone: BackboneConfig) -> TeacherConfig:
    return TeacherConfig(
        backbone=backbone,
        recipe=RecipeConfig.named("id"),
        training=OWN.get(backbone.name, TRAINING),
        seed=0,
    )


def finished(trainer: Trainer) -> Trainer:
    for _ in trainer.epochs():
        pass
    return trainer


@dataclass(frozen=True)
class Gains:
    """What a trained network's mIoU gains, by role."""

    over_prior: dict[str, Interval]
    """Over the best predictor that never looks at the video."""
    over_shuffled: dict[str, Interval]
    """Over itself with every clip replaced by another video's."""


def gains(backbone: Backbone, dataset: Dataset) -> Gains:
    fit, found = dataset.role("fit"), Gains({}, {})
    for role in ROLES:
        pairs: Pairs = (
            open_sealed(dataset.path, "test_ood") if role == "test_ood" else dataset.role(role)
        )
        scores = evaluate_role(backbone, pairs)
        best = max(bias_floors(fit, pairs).values(), key=lambda floor: floor.miou)
        found.over_prior[role] = _gain(scores, best, pairs)
        found.over_shuffled[role] = _gain(scores, evaluate_role(backbone, shuffled(pairs)), pairs)
    return found


def _gain(scores: Scores, other: Scores, pairs: Pairs) -> Interval:
    videos = np.asarray(pairs.video_ids)
    return paired_bootstrap(scores.tiou[:, None], other.tiou[:, None], videos, seed=0)


def shuffled(pairs: Pairs) -> Pairs:
    """Return the pairs with the clips of all their videos in one random order."""
    assert pairs.contents is not None
    clips = np.random.default_rng(0).permutation(np.asarray(pairs.contents.clips))
    return replace(pairs, contents=replace(pairs.contents, clips=clips))


def assert_learnt(found: Gains) -> None:
    """Hold a network to using the video, and to more than habit where habits do not help."""
    assert found.over_prior["val_id"].low[0] > 0.0
    for role in ("val_ood", "test_ood"):
        assert found.over_prior[role].low[0] > 0.05, role
    for role in ROLES:
        assert found.over_shuffled[role].low[0] > 0.0, role


@pytest.mark.parametrize("name", list(CONFIGS))
def test_strong_signal_is_learnt(name: str, signal: Dataset) -> None:
    trainer = finished(teacher_trainer(teacher_config(CONFIGS[name]), signal))
    assert_learnt(gains(trainer.task.backbone, signal))


@pytest.mark.parametrize("name", cases(*CONFIGS))
def test_without_signal_videos_tell_nothing(name: str, noise: Dataset) -> None:
    trainer = finished(teacher_trainer(teacher_config(CONFIGS[name]), noise))
    found = gains(trainer.task.backbone, noise)
    for role in ROLES:  # so many roles and networks that one in forty would stand out by chance
        gain = found.over_shuffled[role]
        assert gain.mean[0] <= 3.5 * gain.standard_error[0], role
    # Queries tell where moments usually lie; for shifted moments that is no help.
    assert found.over_prior["test_ood"].low[0] <= 0.0
    assert found.over_prior["val_id"].mean[0] < 0.15


@pytest.mark.parametrize("name", cases(*(n for n, c in CONFIGS.items() if is_student(c))))
def test_a_student_learns_the_signal_from_its_teachers(
    name: str, signal: Dataset, teacher: Teacher, tmp_path: Path
) -> None:
    config = StudentConfig(
        backbone=CONFIGS[name], distill=DistillConfig(warmup_epochs=3), training=TRAINING
    )
    teachers = {"id": teacher, "ood": teacher}
    trainer = finished(student_trainer(config, signal, teachers, tmp_path))
    found = gains(trainer.task.backbone, signal)
    for role in ("val_ood", "test_ood"):
        assert found.over_prior[role].low[0] > 0.0, role


def test_every_network_is_here() -> None:
    assert set(CONFIGS) == set(NETWORKS)
