"""What can be learnt from a simulated dataset, and what cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refkd.data.pairs import Pairs
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulationConfig, simulate
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import Interval, paired_bootstrap
from refkd.models import BackboneConfig, Tan2DConfig, VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.validation import evaluate_role

pytestmark = pytest.mark.slow
ROLES = ("val_id", "val_ood", "test_ood")
RUNS: dict[str, tuple[BackboneConfig, TrainingConfig]] = {
    "vslnet": (
        VSLNetConfig(hidden=32, heads=4, char_dim=4),
        TrainingConfig(epochs=8, learning_rate=5e-3),
    ),
    "tan2d": (
        Tan2DConfig(
            hidden=32,
            map_clips=8,
            segments=32,
            convolutions=2,
            kernel=3,
            text_layers=1,
            iou_min=0.3,
            iou_max=0.7,
        ),
        TrainingConfig(epochs=14, learning_rate=2e-2),
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> tuple[BackboneConfig, TrainingConfig]:
    return RUNS[request.param]


@pytest.fixture(scope="module", params=[0.0, 2.0], ids=["no signal", "strong signal"])
def gains(
    request: pytest.FixtureRequest,
    run: tuple[BackboneConfig, TrainingConfig],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[float, dict[str, Interval]]:
    """Train a network; return its gain in mIoU over the best location prior, by role."""
    config = SimulationConfig(
        videos=300, queries=2, min_clips=10, max_clips=20, signal=float(request.param)
    )
    dataset = simulate(out=tmp_path_factory.mktemp("learn") / "dataset", config=config)
    teacher = TeacherConfig(
        backbone=run[0], recipe=RecipeConfig.named("id"), training=run[1], seed=0
    )
    trainer = teacher_trainer(teacher, dataset)
    for _ in trainer.epochs():
        pass
    fit = dataset.role("fit")
    found = {}
    for role in ROLES:
        pairs: Pairs = (
            open_sealed(dataset.path, "test_ood") if role == "test_ood" else dataset.role(role)
        )
        # Without signal even a prior that knows the role's own moments must not be beaten: a
        # network's habit may by luck suit an OOD role better than what `fit` teaches.
        floors = bias_floors(fit if request.param > 0 else pairs, pairs)
        best = max(floors.values(), key=lambda scores: scores.miou)
        scores = evaluate_role(trainer.task.backbone, pairs)
        found[role] = paired_bootstrap(
            scores.tiou[:, None], best.tiou[:, None], np.asarray(pairs.video_ids), seed=0
        )
    return float(request.param), found


@pytest.mark.parametrize("role", ["val_ood", "test_ood"])
def test_out_of_distribution_signal_alone_beats_the_location_prior(
    gains: tuple[float, dict[str, Interval]], role: str
) -> None:
    signal, found = gains
    if signal == 0:
        assert found[role].low[0] <= 0.0
    else:
        assert found[role].low[0] > 0.05


def test_in_distribution_strong_signal_beats_the_prior_too(
    gains: tuple[float, dict[str, Interval]], tmp_path: Path
) -> None:
    signal, found = gains
    if signal > 0:
        assert found["val_id"].low[0] > 0.0
    else:
        # Queries tell where moments usually lie, and nothing else is to be learnt.
        assert found["val_id"].mean[0] < 0.15
