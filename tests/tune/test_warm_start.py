"""Searches that begin from other studies, from points and from the paper's values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.storages import InMemoryStorage
from support.recorded_curves import fill, study_file

from refkd.distill.config import DistillConfig
from tune.audit.replay import replay
from tune.config.space import Values
from tune.config.study_file import StudyFileError, load_study_file
from tune.study.growth import warm_points
from tune.study.ranking import best_first
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
    fill(SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}"))
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
