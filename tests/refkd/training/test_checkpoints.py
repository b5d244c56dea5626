"""Checkpoints on disk: what is damaged, unfinished or of another run is never taken up."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.checkpoint import Checkpoint, CheckpointFolder, SupersededError
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer

TRAINING = TrainingConfig(epochs=4, batch_size=16, learning_rate=3e-3, select="best")


def teacher_config(network: VSLNetConfig) -> TeacherConfig:
    return TeacherConfig(backbone=network, recipe=RecipeConfig(), training=TRAINING, seed=5)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def tensors_of(stem: Path) -> Path:
    """Return the tensors of the checkpoint `epoch-NNNN`."""
    [found] = stem.parent.glob(f"{stem.name}-*.safetensors")
    return found


DAMAGE: dict[str, Callable[[Path], None]] = {
    "tensors cut short": lambda p: os.truncate(tensors_of(p), 200),
    "tensors with a changed bit": lambda p: flip_last_byte(tensors_of(p)),
    "tensors gone": lambda p: tensors_of(p).unlink(),
    "tensors without a record": lambda p: p.with_suffix(".json").unlink(),
    "record cut short": lambda p: os.truncate(p.with_suffix(".json"), 40),
    "record empty": lambda p: os.truncate(p.with_suffix(".json"), 0),
    "record of zeros": lambda p: p.with_suffix(".json").write_bytes(bytes(100)) and None,
    "record no text": lambda p: p.with_suffix(".json").write_bytes(b"\xff\xfe{}") and None,
    "record of another kind": lambda p: p.with_suffix(".json").write_text("[1]") and None,
}


@pytest.fixture(scope="module")
def trained(tiny_dataset: Dataset, network: VSLNetConfig) -> Trainer:
    trainer = teacher_trainer(teacher_config(network), tiny_dataset)
    for result in trainer.epochs():
        if result.epoch == 3:
            break
    return trainer


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: Callable[[Path], None], trained: Trainer, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.newest() is None
    folder.save(_at(trained, 2))
    folder.save(_at(trained, 3))
    newest = folder.newest()
    assert newest is not None
    assert newest.epoch == 3
    damage(tmp_path / "epoch-0003")
    before = folder.newest()
    assert before is not None
    assert before.epoch == 2
    damage(tmp_path / "epoch-0002")
    assert folder.newest() is None


def test_a_write_that_was_cut_off_is_no_checkpoint(trained: Trainer, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_at(trained, 2))
    (tmp_path / ".epoch-0003.json.123.abcd.tmp").write_text("{")
    (tmp_path / "epoch-0003-0123456789ab.safetensors").write_bytes(b"half")
    assert folder.epochs() == [2]
    newest = folder.newest()
    assert newest is not None
    assert newest.epoch == 2


def test_two_checkpoints_are_kept_and_none_after_clear(trained: Trainer, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for epoch in (1, 2, 3, 10):
        folder.save(_at(trained, epoch))
    assert folder.epochs() == [3, 10]
    assert len(list(folder.path.iterdir())) == 4
    folder.remove(10)
    folder.remove(10)  # as somebody else may have done meanwhile
    assert folder.epochs() == [3]
    folder.clear()
    assert not folder.path.exists()
    folder.clear()


def _at(trainer: Trainer, epoch: int) -> Checkpoint:
    """Return the trainer's state under the number of any epoch."""
    return replace(trainer.checkpoint(), epoch=epoch)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 6}, "seed=5, not 6"),
        ({"training": {"learning_rate": 1e-4}}, "learning_rate=0.003, not 0.0001"),
        ({"training": {"batch_size": 8}}, "batch_size=16, not 8"),
        ({"training": {"select": "last"}}, "select='best', not 'last'"),
        ({"recipe": {"w_match": 1.0}}, "recipe.w_match=0.0, not 1.0"),
        ({"backbone": {"hidden": 32}}, "another network"),
        ({"backbone": {"predictor": "rnn"}}, "another network"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_run_is_refused(
    changed: dict[str, object],
    message: str,
    trained: Trainer,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
) -> None:
    config = teacher_config(network).model_dump(mode="json")
    for key, value in changed.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    other = teacher_trainer(TeacherConfig.model_validate(config), tiny_dataset)
    with pytest.raises(CheckpointError, match=message) as refused:
        other.restore(trained.checkpoint())
    assert "use another folder" in str(refused.value)
    assert other.epoch == 0


def test_a_finished_run_can_grow(
    trained: Trainer, tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    config = teacher_config(network)
    longer = config.model_copy(update={"training": TRAINING.model_copy(update={"epochs": 6})})
    trainer = teacher_trainer(longer, tiny_dataset)
    trainer.restore(trained.checkpoint())
    assert [result.epoch for result in trainer.epochs()] == [4, 5, 6]


def test_nothing_of_a_checkpoint_is_pickled(trained: Trainer, tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(trained.checkpoint())
    record = json.loads((tmp_path / "epoch-0003.json").read_text())
    assert record["facts"]["seed"] == 5
    header = tensors_of(tmp_path / "epoch-0003").read_bytes()
    size = int.from_bytes(header[:8], "little")
    names = json.loads(header[8 : 8 + size])
    assert any(name.startswith("optimizer/exp_avg_sq/") for name in names)


def test_who_was_taken_for_dead_writes_nothing_more(trained: Trainer, tmp_path: Path) -> None:
    late, retry = CheckpointFolder(tmp_path / "run"), CheckpointFolder(tmp_path / "run")
    late.claim()
    late.save(_at(trained, 1))
    retry.claim()
    retry.save(_at(trained, 2))
    before = sorted(retry.path.iterdir())
    for attempt in (late.check_claim, lambda: late.save(_at(trained, 3))):
        with pytest.raises(SupersededError, match="another process goes on with this run"):
            attempt()
    assert sorted(retry.path.iterdir()) == before
    retry.save(_at(trained, 3))
    retry.clear()
    with pytest.raises(SupersededError):
        retry.save(_at(trained, 4))
    assert not retry.path.exists()


def test_two_writers_at_once_leave_only_whole_checkpoints(tmp_path: Path) -> None:
    """Neither knows of the other, as on nodes whose files reach the shared folder late."""
    states = {w: {"w": torch.full((2000,), float(w))} for w in range(2)}
    ended = threading.Event()

    def write(writer: int) -> None:
        folder = CheckpointFolder(tmp_path)
        for epoch in range(1, 60):
            facts = {"writer": writer}
            folder.save(Checkpoint(epoch=epoch, tensors=states[writer], facts=facts))

    def read() -> int:
        last = 0
        while not ended.is_set():
            found = CheckpointFolder(tmp_path).newest()
            if found is not None:
                assert torch.equal(found.tensors["w"], states[found.facts["writer"]]["w"])
                last = found.epoch
        return last

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        writers = [pool.submit(write, writer) for writer in states]
        try:
            for writer in writers:
                writer.result()
        finally:
            ended.set()
        assert reader.result() > 0
    found = CheckpointFolder(tmp_path)
    assert found.epochs() == [58, 59]
    assert all(found._load(epoch) is not None for epoch in found.epochs())


def test_nothing_is_left_of_a_save_that_was_cut_off(tmp_path: Path) -> None:
    """Killed between the tensors and the JSON that names them, and then trained to its end."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.save(Checkpoint(epoch=1, tensors={"w": torch.ones(2)}, facts={}))
    (folder.path / "epoch-0002-0123456789ab.safetensors").write_bytes(b"half")
    assert CheckpointFolder(folder.path).newest() is not None
    folder.clear()
    assert not folder.path.exists()
