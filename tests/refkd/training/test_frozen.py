"""What training leaves: frozen teachers and students, and the teachers' knowledge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.errors import CheckpointError
from refkd.models import VSLNetConfig
from refkd.models.backbone import NEGATIVE
from refkd.recipes import RecipeConfig
from refkd.recipes import network as networks
from refkd.training import knowledge
from refkd.training.config import TrainingConfig
from refkd.training.export import freeze_student, open_student, student_is_frozen
from refkd.training.knowledge import knowledge_address, make_knowledge, open_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import (
    Teacher,
    TeacherConfig,
    find_teacher,
    freeze_teacher,
    teacher_trainer,
)
from refkd.training.validation import predict_edges, validate

TRAINING = TrainingConfig(epochs=2, batch_size=32, learning_rate=3e-3, select="best")


@pytest.fixture
def teacher(tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path) -> Teacher:
    """Return a teacher in a folder that a test may damage."""
    config = TeacherConfig(backbone=network, recipe=RecipeConfig(), training=TRAINING, seed=3)
    trainer = teacher_trainer(config, tiny_dataset)
    for _ in trainer.epochs():
        pass
    return freeze_teacher(trainer, config, tiny_dataset, tmp_path / "teacher")


def test_a_frozen_teacher_is_found_again(tiny_dataset: Dataset, teacher: Teacher) -> None:
    found = find_teacher(teacher.folder)
    assert found is not None
    assert found.record == teacher.record
    assert found.digest == teacher.digest
    assert found.record.dataset == tiny_dataset.fingerprint
    backbone = found.backbone(tiny_dataset)
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    scores = validate(backbone, tiny_dataset).metrics
    assert scores == pytest.approx({name: found.record.metrics[name] for name in scores})
    chosen = max(teacher.record.history, key=lambda row: row["metrics"]["val/harmonic_miou"])
    assert found.record.epoch == chosen["epoch"]


def test_no_teacher_where_training_has_not_ended(tmp_path: Path) -> None:
    assert find_teacher(tmp_path) is None
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    assert find_teacher(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"seed": 1}'])
def test_a_damaged_record_of_a_teacher_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "teacher.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"teacher\.json: not a teacher's record"):
        find_teacher(tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = [(cut, "changed since"), (flip, "changed since"), (Path.unlink, "are missing")]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_weights_of_a_teacher_are_refused(
    damage: Callable[[Path], None], message: str, tiny_dataset: Dataset, teacher: Teacher
) -> None:
    damage(teacher.folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=f"weights.safetensors.*{message}"):
        teacher.backbone(tiny_dataset)


def test_equal_teachers_share_an_address_and_others_do_not(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    plain = TeacherConfig(backbone=network, recipe=RecipeConfig(), training=TRAINING)
    changes = [
        {"seed": 1},
        {"recipe": RecipeConfig.named("refkd_text")},
        {"training": TrainingConfig()},
        {"backbone": network.model_copy(update={"dropout": 0.1})},
    ]
    addresses = [plain.address(tiny_dataset)]
    addresses += [plain.model_copy(update=change).address(tiny_dataset) for change in changes]
    assert plain.model_copy().address(tiny_dataset) == addresses[0]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("damage", ["", *(function.__name__ for function, _ in DAMAGE)])
def test_a_frozen_student_is_opened_again(
    damage: str,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
) -> None:
    config = StudentConfig(
        backbone=network, distill=DistillConfig(warmup_epochs=1), training=TRAINING, seed=4
    )
    trainer = student_trainer(config, tiny_dataset, teachers, tmp_path / "knowledge")
    for _ in trainer.epochs():
        pass
    folder = tmp_path / "student"
    with pytest.raises(CheckpointError, match="holds no finished student"):
        open_student(folder)
    assert not student_is_frozen(folder)
    record = freeze_student(trainer, config, tiny_dataset, folder).record
    assert student_is_frozen(folder)
    found = open_student(folder)
    assert found.record == record
    assert found.record.config == config
    if damage:
        function, message = next(row for row in DAMAGE if row[0].__name__ == damage)
        function(folder / "student.safetensors")
        with pytest.raises(CheckpointError, match=message):
            found.backbone(tiny_dataset)
        return
    backbone = found.backbone(tiny_dataset)
    assert set(backbone.state_dict()) == set(trainer.task.backbone.state_dict())  # no branches
    pairs = tiny_dataset.role("val_id")
    trainer.task.backbone.load_state_dict(trainer.kept_weights())
    spans = predict_edges(trainer.task.backbone, pairs)
    assert (predict_edges(backbone, pairs) == spans).all()
    scores = validate(backbone, tiny_dataset).metrics
    assert scores == pytest.approx({name: record.metrics[name] for name in scores})


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_damaged_record_of_a_student_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"student\.json: not a student's record"):
        open_student(tmp_path)


def test_knowledge_is_the_teachers_logits_of_every_fit_pair(
    tiny_dataset: Dataset, teachers: dict[str, Teacher], tmp_path: Path
) -> None:
    made = make_knowledge(teachers["ood"], tiny_dataset, tmp_path)
    fit = tiny_dataset.role("fit")
    assert made.logits.shape == (len(fit), 2, int(fit.clips.max()))
    assert made.logits.dtype == np.float32
    backbone = teachers["ood"].backbone(tiny_dataset)
    with torch.no_grad():
        for pair in range(0, len(fit), 13):
            spans, n = backbone(fit.batch([pair])).spans, int(fit.clips[pair])
            alone = torch.stack([spans.start[0], spans.end[0]]).numpy()
            np.testing.assert_allclose(made.logits[pair, :, :n], alone, atol=1e-5, rtol=1e-5)
            assert (made.logits[pair, :, n:] == np.float32(NEGATIVE)).all()


def test_knowledge_is_computed_once(
    tiny_dataset: Dataset,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    monkeypatch.setattr(knowledge, "teacher_logits", None)  # a second computation would fail
    again = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    assert (
        again.path
        == first.path
        == tmp_path / (knowledge_address(teachers["id"], tiny_dataset) + ".npy")
    )
    assert (again.logits == first.logits).all()


def test_the_address_of_knowledge_names_teacher_dataset_and_code(
    tiny_dataset: Dataset,
    teachers: dict[str, Teacher],
    teacher: Teacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = SimulationConfig(**{**tiny_dataset.manifest.simulation, "seed": 1})
    other = simulate(out=tmp_path / "other", config=config)
    first = knowledge_address(teachers["id"], tiny_dataset)
    addresses = [
        first,
        knowledge_address(teachers["ood"], tiny_dataset),
        knowledge_address(teacher, tiny_dataset),
        knowledge_address(teachers["id"], other),
    ]
    monkeypatch.setattr(networks, "source_digest", lambda config: "newer code")
    addresses.append(knowledge_address(teachers["id"], tiny_dataset))
    assert len(set(addresses)) == len(addresses)
    monkeypatch.undo()
    found = find_teacher(teachers["id"].folder)
    assert found is not None
    assert knowledge_address(found, tiny_dataset) == first


@pytest.mark.parametrize("damaged", [".npy", ".json"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=lambda f: f.__name__)
def test_damaged_knowledge_is_refused_and_computed_again(
    damage: Callable[[Path], None],
    damaged: str,
    tiny_dataset: Dataset,
    teachers: dict[str, Teacher],
    tmp_path: Path,
) -> None:
    first = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    expected, path = first.logits.copy(), first.path
    if damaged == ".json" and damage is flip:
        path.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64}))
    else:
        damage(path.with_suffix(damaged))
    with pytest.raises(CheckpointError, match=r"\.npy: the knowledge is missing or damaged"):
        open_knowledge(path)
    again = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    assert again.path == path
    assert (again.logits == expected).all()
    assert (open_knowledge(path).logits == expected).all()
