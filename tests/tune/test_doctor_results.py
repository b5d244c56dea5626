"""The doctor on a study with all it can have: every file that a result rests on is verified."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support.finished_study import Finished, finish_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.exported import RECORD, WEIGHTS
from refkd.files import sha256_file
from tune.audit.examine import Diagnosis, examine
from tune.audit.study import Finding
from tune.cli import app
from tune.report.make import report
from tune.study.ledger import LEDGER
from tune.study.snapshot import open_snapshot
from tune.study.storage import StorageError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
NOTHING_RESTS_ON = {
    "dataset/sealed": "only a look opens it, and compares every byte first",
    "mlflow.db": "what stands there can be sent again; the weights of the registry are verified",
    "runs/mlartifacts": "copies and code; the retrievers of the registry are verified apart",
    "runs/studies/ended/report": "made anew by each `refkd report`",
    "runs/studies/ended/study.db": "each of its events has a hash: `test_doctor_tampering`",
    "runs/studies/ended/study.db.ended.driver": "the lock of a driver",
    "runs/studies/ended/study.db-shm": "there while a connection is open",
    "runs/studies/ended/study.db-wal": "there while a connection is open",
    "runs/studies/ended/study.yaml": "a copy: the launches hold the study file as events",
    "runs/studies/ended/tracking": "what was sent to MLflow; if it is lost, all is sent again",
    "study.yaml": "the user's own; the launches hold what it said",
}


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset, empty_store: Path
) -> Finished:
    return finish_study(tmp_path_factory.mktemp("finished"), tiny_dataset, empty_store)


@pytest.fixture
def finished(made: Finished) -> Iterator[Finished]:
    """The study, which a test may damage: it is put back afterwards."""
    with made.put_back():
        yield made


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def tree(folder: Path) -> dict[str, Any]:
    """Return names, kinds, sizes, times and contents of all below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = sha256_file(path) if path.is_file() else None
        found[str(path)] = (facts.st_mode, facts.st_size, facts.st_mtime_ns, content)
    return found


def looked(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    """Return the diagnosis, after which nothing has changed: no file, no folder, no cache."""
    cache = finished.home / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.chdir(finished.home)
    before = tree(finished.home)
    try:
        return examine(finished.study.path)
    finally:
        assert tree(finished.home) == before


def test_every_file_of_a_study_is_verified_or_nothing_rests_on_it(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(finished, monkeypatch).findings == []
    files: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(path for path in finished.home.rglob("*") if path.is_file()):
        name = str(path.relative_to(finished.home))
        if not any(f"{name}/".startswith(f"{free}/") for free in NOTHING_RESTS_ON):
            files[path.parent].append(path)
    assert len(files) > 15
    while any(files.values()):  # one of each folder at once: a record speaks for what is beside it
        damaged = [left.pop() for left in files.values() if left]
        kept = {path: path.read_bytes() for path in damaged}
        for path in damaged:
            flip(path)
        said = "\n".join(row.what for row in examine(finished.study.path).findings)
        assert [str(path) for path in damaged if str(path) not in said] == []
        for path, content in kept.items():
            path.write_bytes(content)


# Kinds of damage, each with the check that finds it and what it says -------------------------


def no_champion(study: Finished) -> None:
    shutil.rmtree(study.folder / "champions" / "best-ood")


def no_champions_of_finalists(study: Finished) -> None:
    shutil.rmtree(study.folder / "finalists" / "champions")


def exchanged_champion(study: Finished) -> None:
    shutil.rmtree(study.folder / "champions" / "best-ood")
    shutil.copytree(study.folder / "champions" / "best-id", study.folder / "champions/best-ood")


def no_finalist(study: Finished) -> None:
    shutil.rmtree(study.folder / "finalists" / "0001")


def exchanged_finalist(study: Finished) -> None:
    shutil.rmtree(study.folder / "finalists" / "0001" / "seed-0")
    shutil.copytree(study.folder / "finalists/0002/seed-0", study.folder / "finalists/0001/seed-0")


def exchanged_student(study: Finished) -> None:
    """One whose record and weights agree with each other, and whose scores are the same."""
    mine, other = study.folder / "trials" / "0000", study.folder / "trials" / "0001"
    record = json.loads((mine / "student.json").read_text())
    shutil.copyfile(other / "student.safetensors", mine / "student.safetensors")
    record["sha256"] = sha256_file(mine / "student.safetensors")
    (mine / "student.json").write_text(json.dumps(record))


def no_final(study: Finished) -> None:
    (study.folder / "final-1.json").unlink()


def better_final(study: Finished) -> None:
    path = study.folder / "final-1.json"
    held = json.loads(path.read_text())
    held["comparison"]["scores"]["test_ood"]["trial-0002"]["miou"]["value"] += 20
    path.write_text(json.dumps(held))


def forged_final(study: Finished) -> None:
    shutil.copyfile(study.folder / "final-1.json", study.folder / "final-2.json")


def better_event(study: Finished) -> None:
    (row,) = query(
        study, "SELECT value_json FROM study_user_attributes WHERE key = 'look-done:0001'"
    )
    held = json.loads(row[0])
    held["results"]["comparison"]["scores"]["test_ood"]["trial-0002"]["miou"]["value"] += 20
    query(
        study,
        "UPDATE study_user_attributes SET value_json = ? WHERE key = 'look-done:0001'",
        json.dumps(held),
    )


def better_note(study: Finished) -> None:
    (row,) = query(study, "SELECT value_json FROM study_user_attributes WHERE key = 'finalists'")
    held = json.loads(row[0])
    held["comparison"]["scores"]["val_ood"]["trial-0002"]["miou"]["value"] += 20
    query(
        study,
        "UPDATE study_user_attributes SET value_json = ? WHERE key = 'finalists'",
        json.dumps(held),
    )


def edited_ledger(study: Finished) -> None:
    path = study.folder / LEDGER
    path.write_text(path.read_text().replace('"reason":null', '"reason":"why"'))


def no_ledger(study: Finished) -> None:
    (study.folder / LEDGER).unlink()


def longer_ledger(study: Finished) -> None:
    path = study.folder / LEDGER
    path.write_text(path.read_text() * 2)


def forgotten_look(study: Finished) -> None:
    query(study, "DELETE FROM study_user_attributes WHERE key LIKE 'look%'")


def emptied_registry(study: Finished) -> None:
    store(study, "DELETE FROM registered_model_aliases")
    store(study, "DELETE FROM model_version_tags")
    store(study, "DELETE FROM model_versions")
    store(study, "DELETE FROM registered_models")


def moved_alias(study: Finished) -> None:
    store(study, "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'best-ood'")


def changed_registered(study: Finished) -> None:
    for one in registered(study, "best-balanced"):  # which is `stable` as well
        flip(one / WEIGHTS)


def no_registered(study: Finished) -> None:
    for one in registered(study, "best-id"):
        shutil.rmtree(one)


def registered(study: Finished, alias: str) -> list[Path]:
    found = study.home.glob(f"runs/mlartifacts/models/*/artifacts/artifacts/{alias}/{RECORD}")
    return [path.parent for path in found]


def flipped_features(study: Finished) -> None:
    flip(study.home / "dataset" / "features.h5")


def no_dataset(study: Finished) -> None:
    shutil.rmtree(study.home / "dataset")


def no_promoted(study: Finished) -> None:
    shutil.rmtree(study.folder / "promoted")


def query(study: Finished, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(study.folder / "study.db")) as storage, storage:
        return storage.execute(statement, values).fetchall()


def store(study: Finished, statement: str) -> None:
    with closing(sqlite3.connect(study.home / "mlflow.db")) as database, database:
        assert database.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    ("damage", "check", "said", "fixed"),
    [
        (no_champion, "champion", "champions/best-ood/retriever.json: no such file", False),
        (no_champions_of_finalists, "champion", "finalists/champions/best-id", False),
        (exchanged_champion, "champion", "best-ood/retriever.json: changed since", False),
        (no_finalist, "finalist", "finalist 1, seed 1", False),
        (exchanged_finalist, "finalist", "finalist 1, seed 0", False),
        (exchanged_student, "student", "trials/0000: is another student", False),
        (no_final, "final", "final-1.json: is gone", True),
        (better_final, "final", "does not hold the results that the study does", True),
        (forged_final, "final", "final-2.json: is of no look", False),
        (better_event, "order", "'look-done:0001' does not follow", False),
        (better_note, "champion", "'finalists' of the study is not what it was", False),
        (edited_ledger, "ledger", "does not hold the looks", True),
        (no_ledger, "ledger", "does not hold the looks", True),
        (longer_ledger, "ledger", "holds 2 rows, but the study knows of 1 look", False),
        (forgotten_look, "ledger", "holds 1 rows, but the study knows of 0 looks", False),
        (emptied_registry, "registry", "has no registered model refkd-ended", True),
        (moved_alias, "registry", "alias best-ood of refkd-ended points at version 1", False),
        (changed_registered, "registry", "its weights.safetensors is not what", True),
        (no_registered, "registry", "its files are gone", True),
        (flipped_features, "dataset", "features.h5: damaged", False),
        (no_dataset, "dataset", "not a prepared dataset", False),
        (no_promoted, "champion", "promoted/stable/retriever.json: no such file", False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_kind_of_damage_is_named_with_its_remedy(
    finished: Finished,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Finished], None],
    check: str,
    said: str,
    fixed: bool,
) -> None:
    damage(finished)
    found = [row for row in looked(finished, monkeypatch).findings if row.check == check]
    assert any(said in row.what for row in found), found
    assert all(row.remedy for row in found)
    assert all(row.fixable == fixed for row in found)
    if check in ("champion", "finalist", "final", "ledger", "order"):
        before = tree(finished.folder / "report")
        with pytest.raises(RefKDError, match="do not verify: ") as refused:
            report(finished.study.path)
        assert "\n" not in str(refused.value)
        assert tree(finished.folder / "report") == before
    if fixed:
        assert [row.check for row in examine(finished.study.path, fix=True).fixed] == [check]
        assert examine(finished.study.path).findings == []
        assert open_snapshot(finished.study.path).final is not None


def test_without_the_weights_the_remedy_names_the_command_that_makes_them(
    finished: Finished,
) -> None:
    emptied_registry(finished)
    for place in ("champions", "finalists/champions", "promoted"):
        shutil.rmtree(finished.folder / place)
    (found,) = (r for r in examine(finished.study.path).findings if r.check == "registry")
    assert not found.fixable
    assert re.search(r"refkd promote \S+ --alias \S+ --trial \d+", found.remedy) is not None


def test_a_fix_that_fails_is_told_and_stops_no_other(finished: Finished) -> None:
    emptied_registry(finished)
    no_final(finished)
    no_dataset(finished)
    made = examine(finished.study.path, fix=True)
    assert "final" in [row.check for row in made.fixed]
    (left,) = (row for row in made.findings if row.check == "registry")
    assert re.search(r"register it again; --fix failed: .*dataset", left.remedy) is not None


def test_a_registration_that_is_killed_before_the_study_knows_is_noted_by_the_next(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_registered(finished)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tune.results.promote.StoredStudy.note_aliases", killed)
        with pytest.raises(KeyboardInterrupt):
            examine(finished.study.path, fix=True)
    found = [row.what for row in examine(finished.study.path).findings]
    assert any("in MLflow, the study moved it to" in what for what in found), found
    assert examine(finished.study.path, fix=True).findings == []


def test_a_lost_record_is_made_whole_with_its_registry(finished: Finished) -> None:
    """The store itself stays: other tests hold it open."""
    client = MlflowClient(f"sqlite:///{finished.store}")

    def registry() -> dict[str, tuple[str, dict[str, str]]]:
        (model,) = client.search_registered_models()
        held = {a: client.get_model_version(model.name, v) for a, v in model.aliases.items()}
        cards = {
            a: re.sub(r"- [\d-]+ [\d:]+ UTC", "", str(v.description)) for a, v in held.items()
        }
        return {alias: (cards[alias], dict(one.tags)) for alias, one in held.items()}

    before = registry()
    assert before.keys() >= {"best-id", "best-ood", "stable"}
    emptied_registry(finished)
    (held,) = client.search_experiments(filter_string="name LIKE 'refkd/%'")
    client.rename_experiment(held.experiment_id, "lost")
    assert examine(finished.study.path, fix=True).findings == []
    assert {alias: one for alias, one in registry().items() if alias in before} == before
    assert examine(finished.study.path).findings == []


# Whatever a file has become, it is a finding and no traceback --------------------------------

STATES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "JSON of another kind": lambda path: path.write_bytes(b"[1, 2]\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir())[0],
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere"))[0],
    "gone": lambda path: path.unlink(),
}
STORAGE = "runs/studies/ended/study.db"
ALONE = ("mlflow.db", "dataset/manifest.json", STORAGE)
"""Files without which others are not looked at."""
FILES = (
    *("mlflow.db", "dataset/manifest.json", "dataset/features.h5", "dataset/moments.parquet"),
    *("dataset/words.npz", STORAGE, "runs/studies/ended/ledger.jsonl"),
    *("runs/studies/ended/final-1.json", "runs/studies/ended/finalists/0001/seed-1/student.json"),
    *("runs/studies/ended/champions/best-id/retriever.json",),
    *("runs/studies/ended/champions/best-id/weights.safetensors",),
    *("runs/studies/ended/trials/0001/student.json", "runs/studies/ended/finalists/scores.json"),
    *("runs/studies/ended/trials/0001/student.safetensors",),
    *("runs/teachers/*/teacher.json", "runs/teachers/*/weights.safetensors"),
)


@pytest.mark.parametrize("state", STATES)
def test_a_file_that_is_anything_else_is_a_finding_and_stays_so(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    apart = [[name] for name in ALONE]
    for names in [*apart, [name for name in FILES if name not in ALONE]]:
        paths = [min(finished.home.glob(name)) for name in names]
        aside = [path.with_name(path.name + ".aside") for path in paths]
        for path, kept in zip(paths, aside, strict=True):
            path.rename(kept)
            shutil.copyfile(kept, path)
            STATES[state](path)
        try:
            found = looked(finished, monkeypatch).findings
        except StorageError as error:
            found = [Finding("storage", str(error), "; ")]
        said = "\n".join(row.what for row in found)
        assert found
        assert all(row.what and row.remedy and "\n" not in row.what for row in found)
        if names[0] not in ALONE:
            assert [p for p in paths if str(p.parent) not in said] == []
        for path, kept in zip(paths, aside, strict=True):
            if path.is_dir():
                path.rmdir()
            kept.replace(path)


def test_a_workspace_without_anything_else_is_looked_at(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No MLflow, no dataset, no teachers: neither is made, and each is said."""
    for name in ("dataset", "runs/teachers", "runs/mlartifacts"):
        shutil.rmtree(finished.home / name)
    finished.store.rename(finished.held)
    checks = {row.check for row in looked(finished, monkeypatch).findings}
    assert {"dataset", "teacher", "record"} <= checks


def test_a_storage_that_is_no_database_is_one_line(finished: Finished) -> None:
    path = finished.folder / "study.db"
    os.truncate(path, 5000)
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", str(finished.study.path)])
    assert isinstance(done.exception, StorageError)
    assert str(done.exception).startswith(f"storage sqlite:///{path} ")
