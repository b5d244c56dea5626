"""What can be learnt from a simulated dataset, and what cannot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from refkd.data.pairs import Pairs
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulationConfig, simulate
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import Interval, paired_bootstrap
from refkd.evaluation.metrics import Scores
from refkd.models import BackboneConfig, EMBConfig, QAVEConfig, Tan2DConfig, VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.validation import evaluate_role

pytestmark = pytest.mark.slow
ROLES = ("val_id", "val_ood", "test_ood")
SHORT = TrainingConfig(epochs=8, learning_rate=5e-3)
MAP = {"segments": 32, "convolutions": 2, "kernel": 3, "text_layers": 1}
RUNS: dict[str, tuple[BackboneConfig, TrainingConfig]] = {
    "vslnet": (VSLNetConfig(hidden=32, heads=4, char_dim=4), SHORT),
    "emb": (EMBConfig(hidden=32, heads=4, block=4), SHORT),
    "qave": (QAVEConfig(hidden=16, span_hidden=16, dropout=0.2), SHORT),
    "tan2d": (
        Tan2DConfig(hidden=32, map_clips=8, iou_min=0.3, iou_max=0.7, **MAP),
        TrainingConfig(epochs=14, learning_rate=2e-2),
    ),
}


@dataclass(frozen=True)
class Gains:
    """What a trained network's mIoU gains, by role."""

    signal: float
    over_prior: dict[str, Interval]
    """Over the best predictor that never looks at the video."""
    over_shuffled: dict[str, Interval]
    """Over itself with every clip replaced by another video's."""


@pytest.fixture(scope="module", params=[0.0, 2.0], ids=["no signal", "strong signal"])
def signal(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture(scope="module", params=RUNS.values(), ids=list(RUNS))
def gains(
    request: pytest.FixtureRequest, signal: float, tmp_path_factory: pytest.TempPathFactory
) -> Gains:
    """Train a network; return what it has learnt."""
    config = SimulationConfig(videos=300, queries=2, min_clips=10, max_clips=20, signal=signal)
    dataset = simulate(out=tmp_path_factory.mktemp("learn") / "dataset", config=config)
    teacher = TeacherConfig(
        backbone=request.param[0],
        recipe=RecipeConfig.named("id"),
        training=request.param[1],
        seed=0,
    )
    trainer = teacher_trainer(teacher, dataset)
    for _ in trainer.epochs():
        pass
    fit, network = dataset.role("fit"), trainer.task.backbone
    found = Gains(signal, {}, {})
    for role in ROLES:
        pairs: Pairs = (
            open_sealed(dataset.path, "test_ood") if role == "test_ood" else dataset.role(role)
        )
        scores = evaluate_role(network, pairs)
        best = max(bias_floors(fit, pairs).values(), key=lambda floor: floor.miou)
        found.over_prior[role] = _gain(scores, best, pairs)
        found.over_shuffled[role] = _gain(scores, evaluate_role(network, shuffled(pairs)), pairs)
    return found


def _gain(scores: Scores, other: Scores, pairs: Pairs) -> Interval:
    videos = np.asarray(pairs.video_ids)
    return paired_bootstrap(scores.tiou[:, None], other.tiou[:, None], videos, seed=0)


def shuffled(pairs: Pairs) -> Pairs:
    """Return the pairs with the clips of all their videos in one random order."""
    assert pairs.contents is not None
    clips = np.random.default_rng(0).permutation(np.asarray(pairs.contents.clips))
    return replace(pairs, contents=replace(pairs.contents, clips=clips))


@pytest.mark.parametrize("role", ROLES)
def test_a_network_needs_the_videos_exactly_where_they_tell_something(
    gains: Gains, role: str
) -> None:
    found = gains.over_shuffled[role]
    if gains.signal > 0:
        assert found.low[0] > 0.0
    else:
        assert found.low[0] <= 0.0 <= found.high[0]


@pytest.mark.parametrize(("role", "gain"), [("val_id", 0.0), ("val_ood", 0.05)])
def test_strong_signal_beats_the_location_prior(gains: Gains, role: str, gain: float) -> None:
    if gains.signal > 0:
        assert gains.over_prior[role].low[0] > gain
    else:
        # Queries tell where moments usually lie, and nothing else is to be learnt.
        assert gains.over_prior[role].mean[0] < 0.15


def test_without_signal_nothing_beats_the_prior_of_shifted_moments(gains: Gains) -> None:
    if gains.signal == 0:
        assert gains.over_prior["test_ood"].low[0] <= 0.0
