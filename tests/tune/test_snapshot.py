"""The one read model of a study: its state, where it is opened from, that it only reads."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from support.ended_study import end_study
from support.recorded_curves import TABLE, study_file

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.urls import Url
from tune.audit.examine import examine
from tune.config.settings import Tracking
from tune.config.study_file import StudyFile
from tune.study.lease import DRIVER, lease
from tune.study.locate import NoStudyError
from tune.study.search_study import SearchStudy
from tune.study.snapshot import StudyReader, open_snapshot
from tune.study.state import StudyState, state_of

S = StudyState


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ("", S.NOT_BEGUN),
        ("died", S.NOT_BEGUN),
        ("at_work", S.SEARCHING),
        ("begun left at_work", S.SEARCHING),
        ("begun left", S.PAUSED),
        ("begun left died", S.STOPPED),
        ("begun left died chosen evaluated", S.STOPPED),
        ("begun", S.ENDED),
        ("begun died", S.ENDED),
        ("begun at_work", S.ENDED),
        ("begun chosen up_to_date", S.FINALISTS),
        ("begun chosen at_work up_to_date", S.FINALISTS),
        ("begun chosen", S.OUT_OF_DATE),
        ("begun evaluated up_to_date", S.EVALUATED),
        ("begun chosen evaluated up_to_date", S.EVALUATED),
        ("begun chosen evaluated", S.OUT_OF_DATE),
        ("begun evaluated", S.OUT_OF_DATE),
    ],
)
def test_the_state_follows_from_what_is_known(facts: str, state: StudyState) -> None:
    assert told(facts.split()) == state


NAMES = ("begun", "left", "at_work", "died", "chosen", "evaluated", "up_to_date")


def told(facts: list[str]) -> StudyState:
    assert set(facts) <= set(NAMES)
    return state_of(**{name: name in facts for name in NAMES})


def test_trials_are_left_exactly_where_the_state_says_so() -> None:
    for flags in product([False, True], repeat=len(NAMES)):
        known = dict(zip(NAMES, flags, strict=True))
        left = known["left"] or not known["begun"]
        assert state_of(**known).has_trials_left == left


def small(folder: Path, **changes: object) -> StudyFile:
    return study_file(name="small", budget={"trials": 2}, pruning={"name": "none"}, **changes)


def begin(folder: Path, storage: str) -> SearchStudy:
    study = SearchStudy(small(folder).search_spec(), storage)
    study.bind("objectives", study.spec.objectives)
    study.note("epochs", study.spec.epochs)
    study.note("budget", study.spec.budget.model_dump(mode="json"))
    study.begin_launch()
    return study


def finish(study: SearchStudy) -> None:
    while (ask := study.ask()) is not None:
        curve = TABLE.nearest(ask.values)
        for epoch in range(1, study.spec.epochs + 1):
            study.record(ask.number, epoch, curve.at(epoch))
        study.complete(ask.number, curve.at(study.spec.epochs))


@pytest.mark.parametrize("kind", ["sqlite:///{}/study.db", "journal:{}/study.journal"])
def test_a_search_is_followed_from_its_beginning_to_its_end(tmp_path: Path, kind: str) -> None:
    url = kind.format(tmp_path)
    study = begin(tmp_path, url)
    assert open_snapshot(url).state == StudyState.PAUSED
    with lease(url, "small", signs=[1.0, 1.0]):
        seen = open_snapshot(url)
        assert (seen.state, seen.trials_left) == (StudyState.SEARCHING, 2)
        held = dict(seen.attributes[DRIVER])
    study.note(DRIVER, {**held, "process": 2**22 + 1})  # no process has this number
    assert open_snapshot(url).state == StudyState.STOPPED
    study.note(DRIVER, None)
    finish(study)
    ended = open_snapshot(f"{url}#small")
    assert (ended.state, ended.trials_left, ended.driver) == (StudyState.ENDED, 0, None)
    assert [t.number for t in ended.trials] == [0, 1]
    assert list(ended.trials) == study.views()
    assert ended.file.name == "small"
    assert ended.name == study.optuna.study_name


def test_file_folder_and_storage_open_the_same_study(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    study = end_study(tmp_path, tiny_dataset)
    study.open().begin_launch()
    by_file = open_snapshot(study.path)
    for other in map(open_snapshot, (study.file.folder, str(study.file.folder), study.url)):
        assert (other.name, other.folder) == (by_file.name, by_file.folder)
        assert list(other.trials) == list(by_file.trials)
        assert other.attributes == by_file.attributes
        assert other.summary == by_file.summary
        assert other.state == by_file.state == StudyState.ENDED
        assert other.file.model_dump() == by_file.file.model_dump()
        assert other.place.tracking == by_file.place.tracking


@pytest.mark.parametrize("storage", ["in its folder", "elsewhere"])
def test_one_study_has_one_home_from_wherever_it_is_opened(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    url = None if storage == "in its folder" else f"journal:{tmp_path / 'far' / 'study.journal'}"
    study = end_study(tmp_path, tiny_dataset, storage=url)
    file = study.file.model_copy(update={"tracking": Tracking(uri=Url("http://localhost:5"))})
    if url is None:
        file = file.model_copy(update={"workspace": Path("runs")})
    study.open_with(file).begin_launch()
    (study.file.folder / "ledger.jsonl").write_text("damaged", encoding="utf-8")
    ways = [study.url] if url else [study.url, str(study.file.folder)]
    nearby = tmp_path_of(tmp_path, "another")
    (nearby / "runs" / "studies" / study.file.name).mkdir(parents=True)  # of another workspace
    monkeypatch.chdir(nearby)
    for seen in map(open_snapshot, ways):
        assert seen.folder == seen.file.folder == study.file.folder
        assert seen.ledger_fault is not None
        assert seen.state == StudyState.EVALUATED
        assert str(seen.place.tracking) == "http://localhost:5"
        assert seen.path == Path("STUDY.yaml")
        assert all(study.file.folder in folder.parents for folder in seen.student_folders(0))
    with pytest.raises(RefKDError, match="--fix changes files; name the study file"):
        examine(ways[-1], fix=True)


def tmp_path_of(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def test_what_is_stored_without_its_password_is_asked_of_the_study_file(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    study = end_study(tmp_path, tiny_dataset)
    tracking = Tracking(uri=Url("http://ann:secret@localhost:5"))
    study.open_with(study.file.model_copy(update={"tracking": tracking})).begin_launch()
    seen = open_snapshot(study.url)
    assert seen.summary.ended == 4
    with pytest.raises(RefKDError, match="without its password; name the study file"):
        seen.place.tracking.reveal()


def test_a_larger_budget_in_the_file_leaves_trials(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset)
    study.open().begin_launch()
    assert open_snapshot(study.path).state == StudyState.ENDED
    study.change(budget={"trials": 9})
    assert open_snapshot(study.path).state == StudyState.PAUSED
    assert open_snapshot(study.url).state == StudyState.ENDED


@pytest.mark.parametrize(
    "url", ["postgresql://ann:se#cret@127.0.0.1:1/db", "postgresql://ann:secret@127.0.0.1:1/db"]
)
def test_a_storage_that_does_not_answer_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(RefKDError, match="cannot be used: ") as refused:
        open_snapshot(url)
    assert "cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database", encoding="utf-8")
    with pytest.raises(RefKDError, match="check that the file is a study's"):
        open_snapshot(f"sqlite:///{tmp_path / 'study.db'}")


def test_a_journal_that_is_removed_meanwhile_is_gone(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'study.journal'}"
    begin(tmp_path, url)
    reader = StudyReader(url)
    assert reader.read().state == StudyState.PAUSED
    (tmp_path / "study.journal").unlink()
    with pytest.raises(NoStudyError, match="is gone"):
        reader.read()


def test_where_no_study_is_the_error_says_what_to_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    cases: list[tuple[Path | str, str]] = [
        (url, "does not exist"),
        (tmp_path, "holds no study.db; name the study file"),
        ("", "no study is named"),
    ]
    for where, message in cases:
        with pytest.raises(NoStudyError, match=message):
            open_snapshot(where)
    for name in ("a", "b"):
        SearchStudy(study_file(name=name).search_spec(), url)
    for where in (url, f"{url}#c"):
        with pytest.raises(NoStudyError, match="holds the studies a, b; name one as URL#NAME"):
            open_snapshot(where)
    assert open_snapshot(f"{url}#b").state == StudyState.NOT_BEGUN
    with pytest.raises(NoStudyError, match="holds no launch; name its study file"):
        _ = open_snapshot(f"{url}#b").file


def test_a_snapshot_is_one_moment_and_writes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = begin(tmp_path, url)
    before = open_snapshot(url)
    finish(study)
    assert before.trials == []
    facts, trials = dict(study.optuna.user_attrs), study.optuna.get_trials()
    seen = open_snapshot(url)
    assert (seen.state, seen.looks, seen.finalists, seen.final) == ("search ended", [], None, None)
    assert seen.champions == seen.summary.champions == seen.scored_champions
    assert dict(study.optuna.user_attrs) == facts
    assert study.optuna.get_trials() == trials


def test_following_a_search_in_sqlite_loads_nothing_heavy(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    begin(folder, f"sqlite:///{folder / 'study.db'}")
    code = (
        "import sys; from tune.display.watch import search_status; "
        "from tune.study.snapshot import open_snapshot; "
        f"print(search_status(open_snapshot({str(folder)!r})).phase, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    phase, *modules = done.stdout.split()
    assert phase == "stopped"
    assert set(modules) & {"torch", "ray", "mlflow", "pandas", "optuna", "sqlalchemy"} == set()
