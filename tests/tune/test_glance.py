"""A study read without Optuna is the study that Optuna reads."""

from __future__ import annotations

import itertools
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from support.project import ROOT

from tune.study.sqlite_view import read_sqlite
from tune.study.storage import close_storage, open_storage
from tune.study.view import ASKED, EPOCH, STAMP, key_of, view

RANGES = {
    "float": FloatDistribution(0.0, 1.0),
    "log": FloatDistribution(1e-4, 1.0, log=True),
    "int": IntDistribution(-3, 9, step=2),
    "choice": CategoricalDistribution(["a", "b", 3, 0.5, True, None]),
}
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "float": st.floats(0, 1),
        "log": st.floats(1e-4, 1),
        "int": st.sampled_from([-3, -1, 9]),
        "choice": st.sampled_from(["a", "b", 3, 0.5, None]),
    },
)
NUMBERS = st.floats(allow_nan=False)
FACTS = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers()))
NUMBERING = itertools.count()


@st.composite
def trials(draw: st.DrawFn) -> optuna.trial.FrozenTrial:
    """Return a trial as any moment may leave it."""
    params = draw(PARAMS)
    state = draw(st.sampled_from(list(TrialState)))
    attributes: dict[str, Any] = dict(draw(FACTS))
    attributes[ASKED] = {"values": params, STAMP: [1, 2.5, "abc", 1]}
    for epoch in range(1, draw(st.integers(0, 3)) + 1):
        attributes[key_of(EPOCH, epoch)] = {"val_id/miou": draw(st.floats(0, 100))}
    return create_trial(
        state=state,
        values=[draw(NUMBERS), draw(NUMBERS)] if state == TrialState.COMPLETE else None,
        params=params,
        distributions={name: RANGES[name] for name in params},
        user_attrs=attributes,
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('a glance') / 'study.db'}"


@settings(
    deadline=None,
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(held=st.lists(trials(), max_size=4), attributes=FACTS)
def test_every_view_is_the_one_that_optuna_gives(
    url: str, held: list[optuna.trial.FrozenTrial], attributes: dict[str, Any]
) -> None:
    name = f"study-{next(NUMBERING)}"
    storage = open_storage(url)
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "maximize"]
    )
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    study.add_trials(held)
    seen = read_sqlite(url, name)
    assert seen is not None
    assert seen[0] == attributes
    known = study.get_trials(deepcopy=False)
    assert seen[1] == list(map(view, known))
    for ours, theirs in zip(seen[1], known, strict=True):
        assert list(ours.values) == list(theirs.params)
        assert list(map(type, ours.values.values())) == list(map(type, theirs.params.values()))
    close_storage(storage)


def test_an_infinite_value_is_read_as_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="a", storage=url, directions=["maximize"] * 2)
    study.add_trial(create_trial(values=[-math.inf, math.inf]))
    seen = read_sqlite(url, "a")
    assert seen is not None
    assert seen[1][0].objectives == [-math.inf, math.inf]


def test_what_a_driver_has_just_written_is_seen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    study = optuna.create_study(study_name="a", storage=storage)
    trial = study.ask()
    for value in (1, 2):
        trial.set_user_attr("fact", value)
        seen = read_sqlite(url, "a")
        assert seen is not None
        assert seen[1][0].attributes == {"fact": value}
        assert seen[1][0].state == "RUNNING"
    close_storage(storage)


def test_tables_of_another_revision_are_left_to_optuna(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    url = f"sqlite:///{path}"
    optuna.create_study(study_name="a", storage=url)
    assert read_sqlite(url, "a") is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    assert read_sqlite(url, "a") is None


def test_what_is_no_study_in_sqlite_is_left_to_optuna_and_nothing_is_made(tmp_path: Path) -> None:
    no_study = tmp_path / "text.db"
    no_study.write_text("no database", encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name="a", storage=url)
    for other in (
        f"sqlite:///{tmp_path / 'nowhere.db'}",
        f"sqlite:///{no_study}",
        f"journal:{tmp_path / 'study.db'}",
        f"{url}?timeout=3",
        "postgresql+psycopg://ann@host/studies",
    ):
        assert read_sqlite(other, "a") is None
    assert read_sqlite(url, "b") is None
    assert not (tmp_path / "nowhere.db").exists()


def test_status_of_a_study_in_sqlite_loads_neither_optuna_nor_what_trains(tmp_path: Path) -> None:
    optuna.create_study(study_name="a", storage=f"sqlite:///{tmp_path / 'study.db'}").add_trial(
        create_trial(value=1.0)
    )
    study = tmp_path / "study.yaml"
    study.write_text(f"name: a\nstorage: sqlite:///{tmp_path / 'study.db'}\n", encoding="utf-8")
    code = (
        "import sys; from tune.cli import main; sys.argv[1:] = ['status', sys.argv[1]]\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(study)], cwd=ROOT, capture_output=True, text=True
    )
    assert "COMPLETE" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    heavy = {"optuna", "sqlalchemy", "alembic", "scipy", "pandas", "torch", "ray", "mlflow"}
    assert loaded & (heavy | {"pyarrow", "moocore", "filelock"}) == set()
