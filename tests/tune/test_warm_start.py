"""Searches that begin from, or near, other studies, from points and from the paper's values."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.storages import InMemoryStorage
from support.recorded_curves import fill, study_file

from refkd.distill.config import DistillConfig
from refkd.errors import RefKDError
from tune.audit.replay import replay
from tune.config.settings import EarlierStudy
from tune.config.space import Values
from tune.config.study_file import StudyFile, StudyFileError, load_study_file
from tune.study.growth import MOST, warm_points, with_prior
from tune.study.inputs import check_inputs
from tune.study.launch import read_launches
from tune.study.locate import place_of
from tune.study.ranking import best_first, current, front_of
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot

ID, OOD, HEAT = "distill.lambda_id", "distill.lambda_ood", "distill.kd_temperature"
WIDE: dict[str, Any] = {"float": [0.01, 1.0], "log": True}


def searched(folder: Path, name: str, **changes: Any) -> Path:
    """Search a study on made-up curves, and return its file."""
    path = folder / f"{name}.yaml"
    content = {"name": name, "workspace": str(folder / "runs"), "budget": {"trials": 6}, **changes}
    asked = study_file(**content).model_dump(mode="json", by_alias=True, exclude_unset=True)
    path.write_text(yaml.safe_dump(asked), encoding="utf-8")
    file = load_study_file(path)
    file.folder.mkdir(parents=True)
    study = SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}")
    study.bind("objectives", file.objectives)
    study.bind("dataset", "one and all")
    fill(study)
    return path


def best_of(path: Path) -> list[Values]:
    return [dict(trial.values) for trial in best_first(open_snapshot(path).trials)]


def first_asked(count: int, **settings: Any) -> list[Values]:
    """Return the values that a search tries first, begun as a launch begins it."""
    file = study_file(**settings)
    study = SearchStudy(file.search_spec(), InMemoryStorage())
    study.begin_launch()
    for point in warm_points(file):
        study.enqueue(point)
    asked = [study.ask() for _ in range(count)]
    assert replay(study.optuna).differences == []
    return [ask.values for ask in asked if ask is not None]


def test_the_best_trials_of_other_studies_are_tried_after_the_points(tmp_path: Path) -> None:
    one, other = searched(tmp_path, "one"), searched(tmp_path, "other", seed=1)
    point = {ID: 0.5, OOD: 0.25}
    warm = {"studies": [str(one), str(other)], "top": 2}
    expected = [point, *best_of(one)[:2], *best_of(other)[:2]]
    assert first_asked(5, start_from=[point], warm_start=warm) == expected
    assert len({str(values) for values in expected}) == 5


def test_of_another_space_the_keys_and_values_inside_this_one_are_taken(tmp_path: Path) -> None:
    path = searched(tmp_path, "one")
    known = best_of(path)
    middle = sorted(float(values[ID] or 0) for values in known)[len(known) // 2]
    space = {ID: {"float": [middle, 1.0], "log": True}, HEAT: {"float": [0.5, 4.0]}}
    inside = [{ID: v[ID]} for v in known if float(v[ID] or 0) >= middle]
    found = warm_points(study_file(space=space, warm_start={"studies": [str(path)], "top": 99}))
    assert 0 < len(found) < len(known)
    assert found == inside
    tried = first_asked(1, space=space, warm_start={"studies": [str(path)]})
    assert tried[0][ID] == inside[0][ID]
    assert 0.5 <= float(tried[0][HEAT] or 0) <= 4.0, "left to the sampler"


def test_a_study_without_a_value_inside_is_refused_in_a_line(tmp_path: Path) -> None:
    path = searched(tmp_path, "one")
    file = study_file(space={HEAT: {"float": [0.5, 4.0]}}, warm_start={"studies": [str(path)]})
    with pytest.raises(StudyFileError, match="no complete trial with a value inside") as refused:
        warm_points(file)
    assert len(str(refused.value).splitlines()) == 1


def test_the_papers_values_are_tried_where_the_space_holds_them(tmp_path: Path) -> None:
    paper = DistillConfig()
    space = {ID: WIDE, OOD: {"float": [paper.lambda_ood * 2, 1.0]}}
    assert warm_points(study_file(warm_start={"paper": True})) == [
        {ID: paper.lambda_id, OOD: paper.lambda_ood}
    ]
    assert warm_points(study_file(space=space, warm_start={"paper": True})) == [
        {ID: paper.lambda_id}
    ]


# A prior --------------------------------------------------------------------------------------


def near(path: Path | str, folder: Path, **changes: Any) -> StudyFile:
    """Return a study that begins near the best trials of another."""
    sampler = {"name": "random", "prior": {"from": str(path)}}
    workspace = str(folder / "later")
    return study_file(**{"name": "later", "sampler": sampler, "workspace": workspace, **changes})


def read(file: StudyFile, dataset: str | None = None) -> tuple[list[Values], list[str]]:
    """Return the points of a study's prior, and what is said of them."""
    spec, said = with_prior(file.search_spec(), place_of(file), dataset)
    assert isinstance(spec.sampler.prior, EarlierStudy)
    return spec.sampler.prior.points, said


def test_a_prior_is_what_the_best_trials_of_another_study_say(tmp_path: Path) -> None:
    path = searched(tmp_path, "one", budget={"trials": 40}, pruning={"name": "none"})
    folder = tmp_path / "runs" / "studies" / "one"
    complete = current(open_snapshot(path).trials)
    quarter = max(len(front_of(complete)), math.ceil(len(complete) / 4))
    points, said = read(near(path, tmp_path))
    assert points == best_of(path)[: min(quarter, MOST)]
    assert len(said) == 1
    assert f"begins near {len(points)} of its {len(complete)} complete trials" in said[0]
    for other in (folder, f"sqlite:///{folder / 'study.db'}#one"):
        assert read(near(other, tmp_path))[0] == points


def test_a_restart_and_a_replay_do_not_open_the_other_study_again(tmp_path: Path) -> None:
    path = searched(tmp_path, "one")
    file = near(path, tmp_path)
    file.folder.mkdir(parents=True)
    url = f"sqlite:///{file.folder / 'study.db'}"

    def launched() -> SearchStudy:
        study = SearchStudy(with_prior(file.search_spec(), place_of(file))[0], url)
        study.begin_launch()
        return study

    points, _ = read(file)
    study = launched()
    asked = [study.ask() for _ in range(3)]
    shutil.rmtree(tmp_path / "runs")
    path.unlink()
    assert read(file) == (points, [])
    again = launched()
    asked += [again.ask() for _ in range(5)]  # three of them interrupted
    assert replay(again.optuna).differences == []
    launches = read_launches(again.optuna.user_attrs)
    assert [launch.spec.sampler.prior for launch in launches] == [again.spec.sampler.prior] * 2
    fresh = SearchStudy(again.launches.all()[0].spec, InMemoryStorage())
    fresh.begin_launch()
    values = {ask.number: ask.values for ask in asked if ask is not None}
    assert [fresh.ask().values for _ in range(5)] == [values[n] for n in range(5)]  # type: ignore[union-attr]


def test_of_another_space_the_prior_says_what_it_leaves_out(tmp_path: Path) -> None:
    path = searched(tmp_path, "one")
    known = sorted(float(values[ID] or 0) for values in best_of(path)[:2])
    space = {ID: {"float": [known[0] * 1.001, 1.0]}, OOD: WIDE, HEAT: {"float": [0.5, 4.0]}}
    changes = {"space": space, "objectives": ["val_ood/miou"]}
    _, said = read(near(path, tmp_path, **changes), dataset="a")
    assert [words.partition(": ")[2].partition(": ")[2] for words in said[1:]] == [
        f"values of {ID} outside this space are left out",
        f"has not searched {HEAT}, which stay random",
        "was searched on another dataset",
        "which trials are its best is told by its own objectives, val_id/miou, val_ood/miou",
    ]


@pytest.mark.parametrize(
    ("changes", "prior", "message"),
    [
        ({}, "gone.yaml", "gone.yaml cannot be read: gone.yaml"),
        ({}, "sqlite:///gone.db", "cannot be read: sqlite:///gone.db: "),
        ({"space": {HEAT: {"float": [0.5, 4.0]}}}, None, "no complete trial with a value inside"),
    ],
)
def test_a_prior_that_says_nothing_is_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], prior: str | None, message: str
) -> None:
    file = near(prior or searched(tmp_path, "one"), tmp_path, **changes)
    with pytest.raises(RefKDError, match=r"sampler\.prior: ") as refused:
        check_inputs(file, verify=False)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert not file.folder.exists()


def test_a_study_without_complete_trials_is_no_prior(tmp_path: Path) -> None:
    path = searched(tmp_path, "none", budget={"trials": 1})
    storage = tmp_path / "runs" / "studies" / "none" / "study.db"
    storage.unlink()
    study = SearchStudy(load_study_file(path).search_spec(), f"sqlite:///{storage}")
    study.begin_launch()
    with pytest.raises(StudyFileError, match="no complete trial"):
        check_inputs(near(path, tmp_path), verify=False)


def test_the_file_of_a_prior_is_held_to_what_it_can_mean(tmp_path: Path) -> None:
    for prior, message in (
        ({"from": "a.yaml", "points": [{ID: 0.5}]}, "sampler.prior.points: a search itself"),
        ({"from": "a.yaml", ID: 0.5}, f"sampler.prior.{ID}: no such key"),
        ({"from": 5}, "sampler.prior.from: "),
        ({ID: []}, f"sampler.prior.{ID}: give a number"),
    ):
        path = tmp_path / "wrong.yaml"
        asked = study_file().model_dump(mode="json", by_alias=True, exclude_unset=True)
        path.write_text(yaml.safe_dump({**asked, "sampler": {"prior": prior}}), encoding="utf-8")
        with pytest.raises(StudyFileError) as refused:
            load_study_file(path)
        (line,) = str(refused.value).splitlines()
        assert message in line, line


def test_the_password_of_a_prior_is_kept_nowhere(tmp_path: Path) -> None:
    file = near("postgresql://ann:secret@host/studies#one", tmp_path)
    kept = [file.search_spec().model_dump_json(by_alias=True), file.model_dump_json(), repr(file)]
    assert all("ann:***@host/studies#one" in text and "secret" not in text for text in kept)
