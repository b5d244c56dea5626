"""The doctor on a study where one thing at a time is broken: in its storage and on disk."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from support.small_study import SmallStudy, make_study, save_checkpoints
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from tune.audit.examine import Diagnosis, examine
from tune.cli import app
from tune.study.lease import DRIVER, Driver, LeaseError
from tune.study.ledger import LEDGER
from tune.study.locate import NoStudyError


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> SmallStudy:
    """A study in SQLite, without a record in MLflow."""
    return make_study(tmp_path, tiny_dataset)


def found(study: SmallStudy, *, fix: bool = False) -> list[str]:
    return [row.check for row in examine(study.path, fix=fix).findings]


def change(study: SmallStudy, statement: str, **values: object) -> None:
    """Change the storage behind everyone's back."""
    engine = create_engine(study.url, poolclass=NullPool)
    with engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount == 1


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_whole_study_is_clean(storage_url: str, tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = make_study(tmp_path, tiny_dataset, storage=storage_url)
    assert examine(study.path) == Diagnosis(study="quick")
    assert examine(study.path, fix=True) == Diagnosis(study="quick")


def test_looking_changes_nothing(study: SmallStudy) -> None:
    save_checkpoints(study.student(1) / "checkpoints", 2)
    before = sorted((p, p.stat().st_size) for p in study.path.parent.rglob("*") if p.is_file())
    assert found(study) == ["checkpoints"]
    after = sorted((p, p.stat().st_size) for p in study.path.parent.rglob("*") if p.is_file())
    assert [f for f in after if "study.db" not in f[0].name] == [
        f for f in before if "study.db" not in f[0].name
    ]


def gap(study: SmallStudy) -> None:
    change(study, "DELETE FROM trial_user_attributes WHERE trial_id = 1 AND key = 'epoch:0002'")


def changed_curve(study: SmallStudy) -> None:
    change(
        study,
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '2.0', '2.5') "
        "WHERE trial_id = 1 AND key = 'epoch:0002'",
    )


def changed_value(study: SmallStudy) -> None:
    change(study, "UPDATE trial_values SET value = 99.0 WHERE trial_id = 1 AND objective = 0")


def changed_state(study: SmallStudy) -> None:
    change(study, "UPDATE trials SET state = 'FAIL' WHERE trial_id = 2")


def unfinished(study: SmallStudy) -> None:
    change(study, "UPDATE trials SET state = 'RUNNING' WHERE trial_id = 2")


def no_student(study: SmallStudy) -> None:
    (study.student() / "student.json").unlink()


def no_student_weights(study: SmallStudy) -> None:
    (study.student() / "student.safetensors").unlink()


def damaged_student(study: SmallStudy) -> None:
    flip(study.student() / "student.safetensors")


def other_student(study: SmallStudy) -> None:
    path = study.student() / "student.json"
    record = json.loads(path.read_text())
    record["metrics"]["val_id/miou"] += 1.0
    path.write_text(json.dumps(record))


def other_epoch(study: SmallStudy) -> None:
    path = study.student() / "student.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "epoch": 1}))


def teacher_folder(study: SmallStudy, role: str) -> Path:
    return study.file.workspace / "teachers" / study.open().optuna.user_attrs["teachers"][role]


def no_teacher(study: SmallStudy) -> None:
    shutil.rmtree(teacher_folder(study, "id"))


def damaged_teacher(study: SmallStudy) -> None:
    flip(teacher_folder(study, "ood") / "weights.safetensors")


def unreadable_teacher(study: SmallStudy) -> None:
    (teacher_folder(study, "ood") / "teacher.json").write_text("{")


def exchanged_teacher(study: SmallStudy) -> None:
    shutil.rmtree(teacher_folder(study, "ood"))
    shutil.copytree(teacher_folder(study, "id"), teacher_folder(study, "ood"))


def foreign_row(study: SmallStudy) -> None:
    (study.file.folder / LEDGER).write_text('{"look"')


@pytest.mark.parametrize(
    ("damage", "checks", "said"),
    [
        (gap, ["curve", "order"], "lacks 2"),
        (changed_curve, ["order"], "trial 0: 'epoch:0002'"),
        (changed_value, ["values"] * 4, "99.0"),
        (changed_state, ["outcome"], "trial 1 is FAIL"),
        (unfinished, ["running"], "refkd search"),
        (no_student, ["student"], "holds no finished student"),
        (no_student_weights, ["student"], "student.safetensors: is missing"),
        (damaged_student, ["student"], "the weights changed"),
        (other_student, ["values"], "its student [4.0"),
        (other_epoch, ["values"], "curve at epoch 1"),
        (no_teacher, ["teacher"], "holds no finished teacher"),
        (damaged_teacher, ["teacher"], "the weights changed"),
        (unreadable_teacher, ["teacher"], "not a teacher's record"),
        (exchanged_teacher, ["teacher"], "another teacher"),
        (foreign_row, ["ledger"], "holds 1 rows, but the study knows of 0 looks"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_has_no_single_right_answer_is_told_and_left(
    study: SmallStudy, damage: Callable[[SmallStudy], None], checks: list[str], said: str
) -> None:
    damage(study)
    diagnosis = examine(study.path)
    assert [row.check for row in diagnosis.findings] == checks
    assert any(said in row.what + row.remedy for row in diagnosis.findings)
    assert all(row.remedy for row in diagnosis.findings)
    assert not any(row.fixable for row in diagnosis.findings)
    assert examine(study.path, fix=True) == diagnosis


def left_checkpoints(study: SmallStudy) -> Path:
    save_checkpoints(study.student(1) / "seed-1" / "checkpoints", 2)
    return study.student(1) / "seed-1" / "checkpoints"


def damaged_checkpoint(study: SmallStudy) -> Path:
    checkpoints = study.student() / "checkpoints"
    flip(next(checkpoints.glob("epoch-0003-*.safetensors")))
    return checkpoints / "epoch-0003.json"


def temporary(study: SmallStudy) -> Path:
    path = study.student() / ".student.json.4711.0a1b2c3d.tmp"
    path.write_text("{")
    return path


def old_temporary_knowledge(study: SmallStudy) -> Path:
    path = study.file.workspace / "knowledge" / ".abc.npy.4711.0a1b2c3d.tmp"
    path.write_text("{")
    os.utime(path, (0, time.time() - 3600))
    return path


def damaged_knowledge(study: SmallStudy) -> Path:
    path = min((study.file.workspace / "knowledge").glob("*.npy"))
    flip(path)
    return path


def damaged_knowledge_record(study: SmallStudy) -> Path:
    path = min((study.file.workspace / "knowledge").glob("*.json"))
    path.write_text('{"sha')
    return path


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (left_checkpoints, "checkpoints"),
        (damaged_checkpoint, "checkpoint"),
        (temporary, "temporary"),
        (old_temporary_knowledge, "temporary"),
        (damaged_knowledge, "knowledge"),
        (damaged_knowledge_record, "knowledge"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_has_one_right_answer_is_mended(
    study: SmallStudy, damage: Callable[[SmallStudy], Path], check: str
) -> None:
    path = damage(study)
    told = examine(study.path)
    assert [(row.check, row.fixable) for row in told.findings] == [(check, True)]
    assert path.exists(), "looking mends nothing"
    mended = examine(study.path, fix=True)
    assert mended.model_dump()["fixed"] == told.model_dump()["findings"]
    assert mended.findings == []
    assert not path.exists()
    assert found(study) == []


def test_the_checkpoint_before_a_damaged_one_stays(study: SmallStudy) -> None:
    damaged_checkpoint(study)
    assert found(study, fix=True) == []
    left = sorted(p.name for p in (study.student() / "checkpoints").iterdir())
    assert [name.partition(".")[0][:10] for name in left] == ["epoch-0002", "epoch-0002"]


def test_another_studys_writer_is_left_alone(study: SmallStudy) -> None:
    path = study.file.workspace / "knowledge" / ".abc.npy.4711.0a1b2c3d.tmp"
    path.write_text("{")
    assert found(study, fix=True) == []
    assert path.exists()


def test_a_driver_at_work_is_named_and_nothing_is_mended(study: SmallStudy) -> None:
    path = temporary(study)
    me = asdict(Driver.me())
    at_work = Driver(**{**me, "process": os.getppid(), "user": "ann", "launch": "other"})
    study.open().note(DRIVER, asdict(at_work))
    told = examine(study.path)
    assert f"process {os.getppid()} of ann on {socket.gethostname()}" in str(told.driver)
    assert told.findings == [], "a temporary file may be its own"
    no_student(study)
    assert found(study) == ["student"]
    with pytest.raises(LeaseError, match="of ann on"):
        examine(study.path, fix=True)
    assert path.exists()


def test_a_dead_driver_is_no_driver(study: SmallStudy) -> None:
    dead = Driver(**{**asdict(Driver.me()), "process": 2**22 + 1, "launch": "other"})
    study.open().note(DRIVER, asdict(dead))
    assert examine(study.path).driver is None
    assert examine(study.path, fix=True).findings == []


def test_a_study_that_was_not_begun(study: SmallStudy) -> None:
    shutil.rmtree(study.file.folder)
    with pytest.raises(NoStudyError, match="has not been begun"):
        examine(study.path, fix=True)
    assert not study.file.folder.exists()


def test_the_command(study: SmallStudy) -> None:
    run = CliRunner(env={"COLUMNS": "200"}).invoke
    clean = run(app, ["doctor", str(study.path)])
    assert clean.exit_code == 0
    assert clean.output == "study quick: everything agrees\n"
    path = temporary(study)
    told = run(app, ["doctor", str(study.path)])
    assert told.exit_code == 1
    assert told.output == f"[temporary] {path}: was left half written\n    --fix will remove it\n"
    mended = run(app, ["doctor", str(study.path), "--fix", "--json"])
    assert mended.exit_code == 0
    said = json.loads(mended.output)
    assert said["findings"] == []
    assert [row["check"] for row in said["fixed"]] == ["temporary"]
