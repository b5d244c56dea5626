"""Teachers under every recipe: what is trained, what goes on bit for bit, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from refkd.data.dataset import Dataset
from refkd.distill import DistillConfig
from refkd.models import VSLNetConfig
from refkd.models.debiased import Debiased
from refkd.recipes import RecipeConfig
from refkd.recipes import network as networks
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.config import TrainingConfig
from refkd.training.export import freeze_student, open_student
from refkd.training.knowledge import knowledge_address, make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import (
    Teacher,
    TeacherConfig,
    find_teacher,
    freeze_teacher,
    teacher_trainer,
)
from refkd.training.trainer import Trainer
from refkd.training.validation import validate

SHORT = {"truncate_min_clips": 4}
"""For videos of 8 to 16 clips."""
RECIPES: dict[str, dict[str, Any]] = {
    "hao2022": {"preset": "hao2022"},
    "zhang2021b": {"preset": "zhang2021b", **SHORT},
    "combined": {"preset": "combined", "copies": 2, "p_aug": 0.7, **SHORT},
    "poe": {"bias_branch": "poe"},
    "learned_mixin": {"bias_branch": "learned_mixin"},
    "counterfactual": {"bias_branch": "counterfactual", "alpha": 0.7},
    "shift_pad": {"augment": "shift_pad", "w_span_aug": 1.0, "pad_source": "other"},
}
recipes = pytest.mark.parametrize("name", list(RECIPES))


def config_of(network: VSLNetConfig, recipe: dict[str, Any], **training: Any) -> TeacherConfig:
    settings = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 32, **training}
    return TeacherConfig(
        backbone=network,
        recipe=RecipeConfig.model_validate(recipe),
        training=TrainingConfig.model_validate(settings),
        seed=5,
    )


def finished(trainer: Trainer, until: int = 2) -> Trainer:
    for result in trainer.epochs():
        if result.epoch == until:
            break
    return trainer


def frozen(
    network: VSLNetConfig, recipe: dict[str, Any], dataset: Dataset, folder: Path
) -> Teacher:
    config = config_of(network, recipe)
    return freeze_teacher(finished(teacher_trainer(config, dataset)), config, dataset, folder)


@recipes
def test_every_recipe_goes_on_bit_for_bit(
    name: str, tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    config = config_of(network, RECIPES[name], select="best")
    straight = finished(teacher_trainer(config, tiny_dataset))
    folder = CheckpointFolder(tmp_path)
    folder.save(finished(teacher_trainer(config, tiny_dataset), until=1).checkpoint())
    checkpoint = folder.newest()
    assert checkpoint is not None
    again = teacher_trainer(config, tiny_dataset)
    again.restore(checkpoint)
    torch.rand(1000)
    finished(again)
    ours, theirs = straight.task.module.state_dict(), again.task.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for a, b in zip(straight.history, again.history, strict=True):
        assert {k: v for k, v in a.metrics.items() if not k.startswith("cost/")} == {
            k: v for k, v in b.metrics.items() if not k.startswith("cost/")
        }
    kept, others = straight.kept_weights(), again.kept_weights()
    assert all(torch.equal(kept[key], others[key]) for key in kept)


@recipes
def test_everything_a_recipe_needs_is_trained(
    name: str, tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = teacher_trainer(config_of(network, RECIPES[name]), tiny_dataset)
    before = {k: v.clone() for k, v in trainer.task.module.state_dict().items()}
    finished(trainer, until=1)
    recipe = RecipeConfig.model_validate(RECIPES[name])
    parts = {key.rsplit(".", 2)[0] for key in before}
    heads = {"order"} if recipe.w_ord > 0 else set()
    assert {part.partition(".")[0] for part in parts} == {"network"} | heads
    after = trainer.task.module.state_dict()
    unmoved = {key for key in before if torch.equal(after[key], before[key])}
    # No word of the fit role is unknown.
    assert {key for key in unmoved if not key.endswith("embedding.unknown")} == set()


@recipes
def test_a_frozen_teacher_answers_as_it_was_validated(
    name: str, tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    teacher = frozen(network, RECIPES[name], tiny_dataset, tmp_path / "teacher")
    found = find_teacher(teacher.folder)
    assert found is not None
    assert found.record == teacher.record
    backbone = found.backbone(tiny_dataset)
    scores = validate(backbone, tiny_dataset).metrics
    assert scores == pytest.approx({key: found.record.metrics[key] for key in scores})
    assert isinstance(backbone, Debiased) == (name == "counterfactual")
    assert not found.leaks
    made = make_knowledge(found, tiny_dataset, tmp_path / "knowledge")
    fit = tiny_dataset.role("fit")
    with torch.no_grad():
        spans = backbone(fit.batch([7])).spans
    n = int(fit.clips[7])
    np.testing.assert_allclose(made.logits[7, 0, :n], spans.start[0], atol=1e-4)
    np.testing.assert_allclose(made.logits[7, 1, :n], spans.end[0], atol=1e-4)


def test_a_recipe_does_not_change_the_backbones_first_weights(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    plain = teacher_trainer(config_of(network, {"preset": "id"}), tiny_dataset).task.backbone
    other = teacher_trainer(config_of(network, RECIPES["combined"]), tiny_dataset).task.backbone
    ours, theirs = plain.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_share_of_the_bias_that_is_taken_off_names_the_knowledge(
    tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal weights with another α give other logits, and so does other code of the branches."""
    teacher = frozen(network, RECIPES["counterfactual"], tiny_dataset, tmp_path)

    def with_alpha(alpha: float) -> Teacher:
        recipe = teacher.record.recipe.model_copy(update={"alpha": alpha})
        return replace(teacher, record=teacher.record.model_copy(update={"recipe": recipe}))

    with_bias, without = (with_alpha(alpha) for alpha in (0.7, 0.0))
    assert knowledge_address(with_bias, tiny_dataset) == knowledge_address(teacher, tiny_dataset)
    assert knowledge_address(without, tiny_dataset) != knowledge_address(teacher, tiny_dataset)
    pairs = tiny_dataset.role("fit").batch(range(8))
    with torch.no_grad():
        a, b = (t.backbone(tiny_dataset)(pairs).spans.start for t in (with_bias, without))
    assert not torch.equal(a, b)
    before = knowledge_address(teacher, tiny_dataset)
    monkeypatch.setattr(networks, "debiased", networks.bias)
    assert knowledge_address(teacher, tiny_dataset) != before


def test_an_oracle_learns_val_ood_alone_and_marks_all_that_comes_of_it(
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
) -> None:
    recipe = {"preset": "oracle", "oracle": True}
    trainer = teacher_trainer(config_of(network, recipe, epochs=1), tiny_dataset)
    seen: list[int] = []
    step = trainer.step
    trainer.step = lambda batch, epoch: seen.append(len(batch)) or step(batch, epoch)  # type: ignore
    finished(trainer, until=1)
    assert sum(seen) == len(tiny_dataset.role("val_ood")) != len(tiny_dataset.role("fit"))
    oracle = frozen(network, recipe, tiny_dataset, tmp_path / "oracle")
    found = find_teacher(oracle.folder)
    assert found is not None
    assert found.leaks
    assert found.record.leakage
    assert found.record.recipe.label == "oracle (leakage)"
    for roles, leaks in (({"ood": oracle}, True), ({"id": oracle}, True), ({}, False)):
        config = StudentConfig(
            backbone=network,
            distill=DistillConfig(warmup_epochs=1),
            training=TrainingConfig(epochs=1),
        )
        student = student_trainer(config, tiny_dataset, {**teachers, **roles}, tmp_path / "k")
        folder = tmp_path / f"student-{'-'.join(roles)}"
        freeze_student(finished(student, until=1), config, tiny_dataset, folder)
        opened = open_student(folder)
        assert opened.leaks == opened.record.leakage == leaks


def test_a_recipe_that_a_backbone_cannot_follow_is_refused(
    network: VSLNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "is_student", lambda _: False)
    config_of(network, {"preset": "refkd_text"})
    with pytest.raises(ValidationError, match=r"recipe\.w_ord: 1\.0 needs .* vslnet has none"):
        config_of(network, {"preset": "hao2022"})
    with pytest.raises(ValidationError, match=r"recipe\.bias_branch: rubi needs a backbone"):
        config_of(network, {"preset": "zhang2021b"})


def test_padded_videos_stay_within_what_the_backbone_can_read(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    """Videos have up to 16 clips here, and the position table has just as many rows."""
    tight = network.model_copy(update={"max_positions": 16})
    assert int(tiny_dataset.role("fit").clips.max()) == 16
    recipe = {"augment": "shift_pad", "w_span_aug": 1.0, "pad_share": 3.0}
    finished(teacher_trainer(config_of(tight, recipe), tiny_dataset), until=1)
